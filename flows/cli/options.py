"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

CityOption = Annotated[
    Path | None, typer.Option("--city", envvar="CITYAIR_CITY", help="City file.", show_default="the shipped Gimhae")
]
LakeFolderOption = Annotated[
    Path | None, typer.Option("--lake", envvar="CITYAIR_LAKE", help="Folder of the Delta tables.")
]
ReportJsonOption = Annotated[bool, typer.Option("--json", help="The report as a JSON object.")]
