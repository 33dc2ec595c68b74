"""Certificate signing requests, trust bundles, pods' requests for certificates.

Divergences: Go's words for a request or certificate that can't be parsed; a pod's proof of possession is
taken as given.
"""

from __future__ import annotations

import binascii
import re
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from cluster.api.objects import Object
from cluster.api.structure.quoting import quoted
from cluster.api.validation import formats
from cluster.api.validation.metadata import validate_annotations
from cluster.api.validation.report import Report

_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system",
    "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc",
    "ocsp signing", "s/mime", "server auth", "signing", "timestamping",
)  # fmt: skip
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_SHORTEST_S = 600
_APPROVAL = ("Approved", "Denied")
_DECISIONS = (*_APPROVAL, "Failed")
_CONDITION_STATUSES = ("False", "True", "Unknown")
_OMITTED = "<value omitted>"
_BUNDLE_LIMIT = 1024 * 1024
_UID_LIMIT = 128
_POD_SHORTEST_S, _POD_LONGEST_S, _KUBERNETES_LONGEST_S = 3600, 91 * 86400, 86400
_BLOCK = re.compile(
    r"-----BEGIN ([^-\n]+)-----\n((?:[^\n:]+: [^\n]*\n)*\n?)([A-Za-z0-9+/=\s]*)-----END \1-----", re.MULTILINE
)


def validate_request(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    if wrong := _wrong_request(spec.get("request", "")):
        report.invalid("spec.request", spec.get("request", ""), wrong)
    usages = spec.get("usages") or ()
    if not usages:
        report.required("spec.usages")
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            report.unsupported(f"spec.usages[{index}]", usage, _USAGES)
    for index, usage in enumerate(usages):
        if usage in usages[:index]:
            report.duplicate(f"spec.usages[{index}]", usage)
    signer = spec.get("signerName", "")
    if signer == _LEGACY_SIGNER:
        why = "the legacy signerName is not allowed via this API version"
        report.invalid("spec.signerName", signer, why)
    else:
        validate_signer_name(signer, "spec.signerName", report)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST_S:
        why = "may not specify a duration less than 600 seconds (10 minutes)"
        report.invalid("spec.expirationSeconds", seconds, why)


def _wrong_request(encoded: str) -> str:
    try:
        text = binascii.a2b_base64(encoded)
        block = _BLOCK.search(text.decode("ascii", "replace"))
        if block is None or block[1] != "CERTIFICATE REQUEST":
            return "PEM block type must be CERTIFICATE REQUEST"
        request = x509.load_der_x509_csr(binascii.a2b_base64(block[3]))
        return "" if request.is_signature_valid else "x509: signature verification failed"
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return "asn1: structure error: malformed certificate request"


def validate_signer_name(name: str, path: str, report: Report) -> None:
    """example.com/signer-name, where both halves may be long."""
    if not name:
        report.required(path)
        return
    if name.count("/") != 1:
        why = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        report.invalid(path, name, why)
        return
    domain, _, rest = name.partition("/")
    if len(domain) > 253:
        report.too_long(path, 253)
    _validate_labels(domain, formats.dns_label, path, report)
    if "." not in domain:
        report.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    _validate_labels(rest, formats.dns_subdomain, path, report)
    if len(name) > 571:
        report.too_long(path, 571)


def _validate_labels(text: str, form: formats.Format, path: str, report: Report) -> None:
    """Only the first label that is wrong is named."""
    for label in text.split("."):
        if wrong := form(label):
            report.invalid_each(path, text, (f"validating label {quoted(label)}: {why}" for why in wrong))
            return


def validate_request_update(new: Object, old: Object, report: Report) -> None:
    validate_request(new, report)


def validate_request_status(new: Object, old: Object, report: Report) -> None:
    """A signer's write: certificate and Failed; nobody's decision changes."""
    _validate_conditions(new, old, report)
    for kind in _APPROVAL:
        before, after = _conditions(old, kind), _conditions(new, kind)
        if len(after) > len(before):
            report.forbidden("status.conditions", f"updates may not add a condition of type {quoted(kind)}")
        elif len(after) == len(before) and after != before:
            report.forbidden(
                "status.conditions", f"updates may not modify a condition of type {quoted(kind)}"
            )
    before, after = (_status(obj).get("certificate", "") for obj in (old, new))
    if before == after:
        return
    if before:
        report.forbidden("status.certificate", "updates may not modify existing certificate content")
    elif wrong := _wrong_certificate(after):
        report.invalid("status.certificate", "<certificate data>", wrong)


def validate_request_approval(new: Object, old: Object, report: Report) -> None:
    _validate_conditions(new, old, report)
    if _status(new).get("certificate", "") != _status(old).get("certificate", ""):
        report.forbidden("status.certificate", "updates may not set certificate content")


def _validate_conditions(new: Object, old: Object, report: Report) -> None:
    seen: set[str] = set()
    for index, condition in enumerate(_status(new).get("conditions") or ()):
        here, kind = f"status.conditions[{index}]", condition.get("type", "")
        if not kind:
            report.required(f"{here}.type")
        statuses = ("True",) if kind in _DECISIONS else _CONDITION_STATUSES
        report.one_of(f"{here}.status", condition.get("status"), statuses)
        if kind in _APPROVAL and seen & (set(_APPROVAL) - {kind}):
            why = "Approved and Denied conditions are mutually exclusive"
            report.invalid("status.conditions", kind, why)
        if kind in seen:
            report.duplicate(f"{here}.type", kind)
        seen.add(kind)
    for kind in _DECISIONS:
        if len(_conditions(new, kind)) < len(_conditions(old, kind)):
            why = f"updates may not remove a condition of type {quoted(kind)}"
            report.forbidden("status.conditions", why)


def _status(obj: Object) -> dict[str, Any]:
    return obj.get("status") or {}


def _conditions(obj: Object, kind: str) -> list[Object]:
    return [c for c in _status(obj).get("conditions") or () if c.get("type") == kind]


def _wrong_certificate(encoded: str) -> str:
    if not encoded:
        return ""
    try:
        blocks = _BLOCK.findall(binascii.a2b_base64(encoded).decode("ascii", "replace"))
        for kind, headers, body in blocks:
            if kind != "CERTIFICATE":
                return f"only CERTIFICATE PEM blocks are allowed, found {quoted(kind)}"
            if headers.strip():
                return "no PEM block headers are permitted"
            x509.load_der_x509_certificate(binascii.a2b_base64(body))
    except (ValueError, UnsupportedAlgorithm):
        return "x509: malformed certificate"
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"


def validate_trust_bundle(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    name, signer = obj["metadata"].get("name", ""), spec.get("signerName", "")
    prefix = signer.replace("/", ":") + ":"
    if not signer and ":" in name:
        why = 'ClusterTrustBundle without signer name must not have ":" in its name'
        report.invalid("metadata.name", name, why)
    elif signer and not name.startswith(prefix):
        why = f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
        report.invalid("metadata.name", name, why)
    else:
        rest = name.removeprefix(prefix) if signer else name
        report.invalid_each("metadata.name", name, formats.dns_subdomain(rest))
    if signer:
        validate_signer_name(signer, "spec.signerName", report)
    _validate_anchors(spec.get("trustBundle", ""), "spec.trustBundle", report)


def _validate_anchors(text: str, path: str, report: Report) -> None:
    if len(text) > _BUNDLE_LIMIT:
        report.too_long(path, _BUNDLE_LIMIT)
        return
    before = len(report.causes)
    places: dict[bytes, list[int]] = {}
    for index, (kind, headers, body) in enumerate(_BLOCK.findall(text)):
        if kind != "CERTIFICATE":
            report.invalid(path, _OMITTED, f"entry {index} has bad block type: {kind}")
        elif headers.strip():
            report.invalid(path, _OMITTED, f"entry {index} has PEM block headers")
        elif wrong := _wrong_anchor(body):
            report.invalid(path, _OMITTED, f"entry {index} {wrong}")
        else:
            places.setdefault(binascii.a2b_base64(body), []).append(index)
    if len(report.causes) > before:
        return
    if not places:
        report.invalid(path, _OMITTED, "at least one trust anchor must be provided")
    for indices in places.values():
        if len(indices) > 1:
            listed = " ".join(map(str, indices))
            report.invalid(path, _OMITTED, f"duplicate trust anchor (indices [{listed}])")


def _wrong_anchor(body: str) -> str:
    try:
        certificate = x509.load_der_x509_certificate(binascii.a2b_base64(body))
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return "does not have the CA bit set"
    except (ValueError, UnsupportedAlgorithm):
        return "does not parse as X.509"
    return "" if constraints.ca else "does not have the CA bit set"


def validate_trust_bundle_update(new: Object, old: Object, report: Report) -> None:
    validate_trust_bundle(new, report)
    report.immutable("spec.signerName", new["spec"].get("signerName", ""), old["spec"].get("signerName", ""))


def validate_pod_request(obj: Object, report: Report) -> None:
    spec = obj["spec"]
    signer = spec.get("signerName", "")
    validate_signer_name(signer, "spec.signerName", report)
    if annotations := spec.get("unverifiedUserAnnotations"):
        validate_annotations(annotations, "spec.unverifiedUserAnnotations", report)
    for subject in ("pod", "serviceAccount", "node"):
        name, uid = spec.get(f"{subject}Name", ""), spec.get(f"{subject}UID", "")
        report.invalid_each(f"spec.{subject}Name", name, formats.dns_subdomain(name))
        if not uid:
            report.invalid(f"spec.{subject}UID", uid, "must not be empty")
        if len(uid) > _UID_LIMIT:
            report.too_long(f"spec.{subject}UID", _UID_LIMIT)
    seconds = spec.get("maxExpirationSeconds")
    domain = signer.partition("/")[0]
    is_own = domain == "kubernetes.io" or domain.endswith(".kubernetes.io")
    longest = _KUBERNETES_LONGEST_S if is_own else _POD_LONGEST_S
    if seconds is None:
        report.required("spec.maxExpirationSeconds", "must be set")
    elif not _POD_SHORTEST_S <= seconds <= longest:
        why = f"must be in the range [{_POD_SHORTEST_S}, {longest}]"
        report.invalid("spec.maxExpirationSeconds", seconds, why)


def validate_pod_request_update(new: Object, old: Object, report: Report) -> None:
    report.immutable("spec", new["spec"], old["spec"])
