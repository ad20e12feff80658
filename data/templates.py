"""Where pages' templates come from, and how they are filled in."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def environment_of(*packages: str) -> Environment:
    """The templates of rooms, the first one's first. Whatever they are given is escaped; what is missing raises."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
