"""The one place where mrpro is first imported, so that its known import failure names its cause."""

from __future__ import annotations

from lowfield_recon.errors import MissingDependencyError


def _explain(error: BaseException) -> MissingDependencyError:
    """Turn the failure of `import mrpro` into an error with a cause and a remedy."""
    from importlib.metadata import PackageNotFoundError, version

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    builds = f"torch {installed('torch')}, torchvision {installed('torchvision')}"
    if "torchvision" in str(error):
        return MissingDependencyError(
            f"torch and torchvision come from different builds ({builds}), so mrpro cannot be "
            "imported "
            f"({error}); reinstall both from the same build, e.g. pip install --force-reinstall "
            "torch torchvision."
        )
    return MissingDependencyError(
        f"mrpro {installed('mrpro')} cannot be imported beside {builds} ({error}); "
        "reinstall lowfield-recon with its dependencies."
    )


try:
    from mrpro.operators import LinearOperator
except (ImportError, RuntimeError) as error:
    raise _explain(error) from error

__all__ = ["LinearOperator"]
