"""Figures that stay true: commands measure them into docs/figures/*.json, and README's and docs' tables are rendered.

`catalogue` reads figures.yaml (what is measured by which command), `measure` runs the commands and records where and
when, `render` fills the blocks `<!-- figures: NAME -->` of the Markdown from the files, by the templates beside it.

    python -m bench.figures measure [--only NAME] [--budget MINUTES]     make figures
    python -m bench.figures render [--check]                             make render
    python -m bench.figures status                                       which files are of which commit
"""
