"""gunicorn as the product sets it up, with the stages wrapped around what it serves."""

from __future__ import annotations

from runpy import run_path

from config import ROOT
from tests.faults import stages

globals().update(run_path(str(ROOT / "gunicorn.conf.py")))
stages.install()
