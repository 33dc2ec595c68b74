"""Who may approve and sign certificates, and for whom.

The plugins CertificateApproval and CertificateSigning: approving (or denying) a request takes the verb
`approve` on its signer, putting a certificate into it the verb `sign`; a signer is a resource `signers` of
certificates.k8s.io by its name or by `<domain>/*`. And CertificateSubjectRestriction: nobody gets a client
certificate for system:masters, which no role could take away again.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64

from cluster.api.errors import forbidden
from cluster.server.admission.chain import Step
from cluster.server.admission.request import Operation, Request, Setting
from cluster.server.auth.attributes import MASTERS, Attributes, Authorizer

REQUESTS = "certificatesigningrequests.certificates.k8s.io"
_GROUP = "certificates.k8s.io"
_API_CLIENT = "kubernetes.io/kube-apiserver-client"


class Signers:
    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def steps(self) -> tuple[Step, ...]:
        update, kind = (Operation.UPDATE,), (REQUESTS,)
        return (
            Step(
                plugin="CertificateApproval",
                run=self.check_approval,
                operations=update,
                resources=kind,
                subresources=("approval",),
            ),
            Step(
                plugin="CertificateSigning",
                run=self.check_signing,
                operations=update,
                resources=kind,
                subresources=("status",),
            ),
            Step(
                plugin="CertificateSubjectRestriction",
                run=check_subject,
                operations=(Operation.CREATE,),
                resources=kind,
            ),
        )

    def check_approval(self, setting: Setting, request: Request) -> None:
        self._check("approve", request)

    def check_signing(self, setting: Setting, request: Request) -> None:
        old = (request.old or {}).get("status") or {}
        new = request.object.get("status") or {}
        if all(new.get(name) == old.get(name) for name in ("certificate", "conditions")):
            return
        self._check("sign", request)

    def _check(self, verb: str, request: Request) -> None:
        signer = request.object["spec"]["signerName"]
        domain = signer.partition("/")[0]
        user = request.call.user
        for name in (signer, f"{domain}/*"):
            asked = Attributes(user, verb, _GROUP, "*", "signers", name=name)
            if self._authorizer.authorize(asked).allowed:
                return
        why = f'user not permitted to {verb} requests with signerName "{signer}"'
        raise forbidden(request.resource, request.name, why)


def check_subject(setting: Setting, request: Request) -> None:
    spec = request.object["spec"]
    if spec.get("signerName") == _API_CLIENT and MASTERS in _organizations(spec.get("request", "")):
        why = f"use of {_API_CLIENT} signer with {MASTERS} group is not allowed"
        raise forbidden(request.resource, request.name, why)


def _organizations(encoded: str) -> list[str]:
    """Of the request's subject; none if it is unreadable, which is the validation's to say."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        asked = x509.load_pem_x509_csr(b64decode(encoded))
    except (ValueError, NotBase64):
        return []
    return [str(part.value) for part in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
