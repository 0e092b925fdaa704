"""What pages say to people beyond the status, which stands in `tests/access/matrix.txt`."""

from __future__ import annotations

from tests.cast import Cast
from tests.pages.visitor import Visitor, text_of


def test_a_fragment_without_a_session_sends_the_whole_page_to_the_sign_in(
    visitor: Visitor, cast: Cast
) -> None:
    answer = visitor.get_fragment("/clinics/1/syncs/1/progress")
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/sign-in"
    assert answer.text == ""


def test_what_somebody_may_not_do_is_not_offered(cast: Cast, vera: Visitor, bob: Visitor) -> None:
    path = f"/clinics/{cast.surf.id}"
    for words in ("Sync all patients", "Test connection", "Patients 0", "Settings"):
        assert words in text_of(bob.get(path))
        assert words not in text_of(vera.get(path))
    for where in (path, "/clinics"):
        page, _ = vera.get(where).text.split('<dialog id="idle"')  # which everybody has
        assert '<button class="btn' not in page
