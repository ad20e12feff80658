"""Write docs/reference/*.md, or say which of them differ."""

from typing import Annotated

import typer

from bench.reference.pages import FOLDER, PAGES


def main(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 where a page differs.")] = False,
) -> None:
    """Generate docs/reference from the code."""
    differs = False
    for name, made in PAGES.items():
        page, text = FOLDER / name, made()
        if page.exists() and page.read_text() == text:
            continue
        differs = True
        typer.echo(f"{page}: {'differs from the code: run `make reference`' if check else 'written'}")
        if not check:
            page.write_text(text)
    if check and differs:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
