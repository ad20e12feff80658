"""`tandem candidates propose`, `explain` and `similar`: questions to the bundle in service."""

from typing import TYPE_CHECKING, Annotated

import typer

from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, write_figures
from data.schema import EVENT_KINDS, EventKind
from data.workspace import Workspace

if TYPE_CHECKING:
    from candidates.retrieval.questions import Asker

UserOption = Annotated[str | None, typer.Option(help="A user of the workspace; none: somebody without history.")]
HistoryOption = Annotated[
    str | None, typer.Option(help="Item ids that somebody viewed, oldest first, with commas; instead of --user.")
]
MerchantOption = Annotated[str | None, typer.Option(help="Default: the merchant of the history's newest item.")]
CountryOption = Annotated[str | None, typer.Option(help="Default: the user's.")]
ExcludeKindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude-kind",
        help=f"Leave out items that the history holds as {', '.join(EVENT_KINDS)}: sale, what was bought. Repeatable.",
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to `tandem candidates`."""
    for name, command in (("propose", propose), ("explain", explain), ("similar", similar)):
        app.command(name)(command)


def propose(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    user: UserOption = None,
    history: HistoryOption = None,
    merchant: MerchantOption = None,
    country: CountryOption = None,
    k: Annotated[int, typer.Option("--k", min=1, max=1000, help="Candidates per source.")] = 10,
    exclude_kind: ExcludeKindOption = None,
    json_file: JsonOption = None,
) -> None:
    """Show what each source of the bundle in service would propose to a user now."""
    from candidates.retrieval.questions import proposals_for
    from candidates.retrieval.tables import proposal_tables

    place = Workspace(workspace)
    found = proposals_for(place, _asker(user, history, merchant, country, exclude_kind), k)
    for table in proposal_tables(found, place.origin()):
        console.print(table)
    write_figures(json_file, found)


def explain(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    user: UserOption = None,
    history: HistoryOption = None,
    merchant: MerchantOption = None,
    country: CountryOption = None,
    item: Annotated[
        list[str] | None, typer.Option(help="Explain this item's score instead of the proposals'. Repeatable.")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=1000, help="Proposals explained.")] = 10,
    top: Annotated[int, typer.Option(min=1, max=50, help="History items named for each.")] = 3,
    exclude_kind: ExcludeKindOption = None,
    json_file: JsonOption = None,
) -> None:
    """Show which items of a user's history LED's proposals come from.

    LED's score is the item's bias plus a sum over the history, so the parts add up to it.
    """
    from candidates.retrieval.questions import explanations_for
    from candidates.retrieval.tables import explanation_tables

    place = Workspace(workspace)
    asker = _asker(user, history, merchant, country, exclude_kind)
    found = explanations_for(place, asker, k, top, item or ())
    for table in explanation_tables(found, place.origin()):
        console.print(table)
    write_figures(json_file, found)


def similar(
    item: Annotated[str, typer.Argument(help="An item id of the catalog.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    country: Annotated[str | None, typer.Option(help="Whose users' behaviour counts; default: the largest.")] = None,
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 10,
    json_file: JsonOption = None,
) -> None:
    """Show the available items of the same merchant that are most like one."""
    from candidates.retrieval.questions import similar_to
    from candidates.retrieval.tables import similar_table

    place = Workspace(workspace)
    found = similar_to(place, item, country, top)
    console.print(similar_table(found, place.origin()))
    write_figures(json_file, found)


def _asker(
    user: str | None, history: str | None, merchant: str | None, country: str | None, kinds: list[str] | None
) -> "Asker":
    from candidates.errors import CandidatesError
    from candidates.retrieval.questions import Asker

    if user is not None and history is not None:
        raise CandidatesError("--user and --history are two histories; expected one of them")
    wrong = [kind for kind in kinds or () if kind not in EVENT_KINDS]
    if wrong:
        raise CandidatesError(f"--exclude-kind {wrong[0]!r}: expected one of {', '.join(EVENT_KINDS)}")
    viewed = None if history is None else [one.strip() for one in history.split(",") if one.strip()]
    return Asker(user, viewed, merchant, country, [EventKind[kind] for kind in kinds or ()])
