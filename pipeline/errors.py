"""What goes wrong when both stages are trained."""

from data.errors import TandemError


class PipelineError(TandemError):
    """Settings, a workspace or a bundle in service that are not what training needs."""
