"""Brings the database up to date, and for a demo makes its clinic and its admin.

python -m script.prepare prints what people have to know for signing in, or why it cannot go on.
"""

from __future__ import annotations

import sys

from flask_migrate import upgrade

from webapp import create_app
from webapp.errors import AppError
from webapp.services import demo
from webapp.terminal import CannotBeDone, database_in_words


def main() -> None:
    """One process for both: importing the application is what takes the time."""
    app = create_app()
    with app.app_context():
        with database_in_words():  # as the migrations do by themselves
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
    except CannotBeDone as error:
        print(error.message)
        raise  # the log keeps where it came from
