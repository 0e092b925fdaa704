"""Brings the database up to date, and for a demo makes its clinic and its admin.

python -m script.prepare prints what people have to know for signing in, or why it cannot go on.
"""

from __future__ import annotations

import sys

from flask_migrate import upgrade

from webapp import create_app
from webapp.errors import AppError
from webapp.services import demo


def main() -> None:
    """One process for both: importing the application is what takes the time."""
    app = create_app()
    with app.app_context():
        demo.stay_out()
        upgrade()
        if app.config["DEMO"]:
            print(demo.seed())


if __name__ == "__main__":
    try:
        main()
    except AppError as error:
        print(error.message)
        sys.exit(1)
