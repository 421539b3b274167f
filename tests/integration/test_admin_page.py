"""MLflow's admin page, at the host of its own: it changes roles and grants, and no other page in a browser does."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from playwright.sync_api import Error as PlaywrightError

from .conftest import NewStack
from .grant_requests import API, Place
from .people import AUTH_ON, PASSWORD, PEOPLE, Persons, user

HOST = "people.localhost"
AJAX, AJAX2 = "/ajax-api/3.0/mlflow", "/ajax-api/2.0/mlflow"
MIA = {"username": "mia"}
# Milliseconds for what a page shows, on a busy machine.
SOON = 20_000


@pytest.fixture(scope="module")
def persons(new_stack: NewStack) -> Iterator[Persons]:
    """A stack with a login everywhere and a host for the admin page, its people, an experiment and a model."""
    hosts = {"MLFLOW_PUBLIC_HOSTS": f"localhost,{HOST}", "ADMIN_HOST": HOST}
    with new_stack(settings={**AUTH_ON, **hosts}) as stack:
        stack.up()
        persons = Persons(stack)
        for what in ("experiments", "registered-models"):
            assert persons.ask("ada", "POST", f"{API}/{what}/create", json={"name": "churn"}).ok
        yield persons


@pytest.fixture
def own(persons: Persons) -> dict[str, str]:
    """What Chromium says of a request by the page's script, at the port that is published on 127.0.0.1."""
    host = persons.stack.url.replace("http://127.0.0.1", HOST)
    return {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}


def listed(persons: Persons) -> list[str]:
    return user(persons.stack, "list").splitlines()


def changes(persons: Persons) -> list[tuple[str, str, dict[str, Any]]]:
    """Each change that the page can ask for, of what is not so yet."""
    experiments = persons.ask("ada", "GET", f"{API}/experiments/get-by-name?experiment_name=churn").json()
    number = experiments["experiment"]["experiment_id"]
    grant = {"username": "vera", "resource_type": "experiment", "resource_id": number, "permission": "EDIT"}
    return [
        ("POST", "roles/assign", {**MIA, "role_id": 3}),
        ("DELETE", "roles/unassign", {**MIA, "role_id": 2}),
        ("POST", "users/permissions/grant", grant),
        ("POST", "users/permissions/revoke", grant),
        ("PATCH", "users/update-admin", {**MIA, "is_admin": True}),
    ]


def test_page_changes_what_user_shows(persons: Persons, own: dict[str, str]) -> None:
    """A role takes the place of the former one; a grant comes and goes. Each is in the record."""

    def send(place: int) -> None:
        method, path, body = sent[place]
        answer = persons.ask("ada", method, f"{AJAX}/{path}", json=body, headers=dict(own))
        assert answer.status_code == 200, answer.text

    sent = changes(persons)
    send(0)
    send(1)
    assert "mia release" in listed(persons)
    send(2)
    assert "vera viewer; member experiment churn" in listed(persons)
    send(3)
    assert "vera viewer" in listed(persons)
    send(4)
    assert "mia admin" in listed(persons)
    user(persons.stack, "role", "mia", "member")
    record = persons.stack.exec("mlflow", "audit", "--since", "1h", "--who", "ada")
    for line in ("change-role mia release 200", "change-role mia not member 200", "change-role mia admin 200"):
        assert line in record
    assert re.search(r"add-grant vera EDIT experiment \d+ 200", record)
    assert re.search(r"remove-grant vera EDIT experiment \d+ 200", record)


@pytest.mark.parametrize(
    "otherwise",
    [
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": ""},
        {"Sec-Fetch-Dest": "document"},
        {"Host": "localhost", "Origin": "http://localhost"},
        {"Host": "localhost", "Origin": f"https://{HOST}"},
    ],
)
def test_another_page_changes_nothing(persons: Persons, own: dict[str, str], otherwise: dict[str, str]) -> None:
    """Of the words by which a browser names the page, one is another: each change is refused, with an admin's login."""
    before = listed(persons)
    headers = {name: value for name, value in {**own, **otherwise}.items() if value}
    for method, path, body in changes(persons):
        answer = persons.ask("ada", method, f"{AJAX}/{path}", json=body, headers=dict(headers))
        assert (answer.status_code, path) == (403, path)
    assert listed(persons) == before


def test_page_of_the_command_stays_closed(persons: Persons, own: dict[str, str]) -> None:
    """What `user` asks at /people/… is no page's, at either host."""
    for host in (own["Host"], own["Host"].replace(HOST, "localhost")):
        headers = {**own, "Host": host, "Origin": f"http://{host}"}
        answer = persons.ask("ada", "PATCH", "/people/users/mia?role=admin", headers=headers)
        assert answer.status_code == 403
    assert "mia member" in listed(persons)


def test_others_see_themselves_alone(persons: Persons, own: dict[str, str]) -> None:
    for name in ("vera", "mia", "ron"):
        for method, path, body in changes(persons):
            answer = persons.ask(name, method, f"{AJAX}/{path}", json=body, headers=dict(own))
            assert (answer.status_code, "this takes admin" in answer.text) == (403, True)
        me = persons.ask(name, "GET", f"{AJAX}/users/current").json()["user"]
        assert (me["username"], me["is_admin"]) == (name, False)
        assert persons.ask(name, "GET", f"{AJAX}/users/roles/list?username={name}").ok
        assert persons.ask(name, "GET", f"{AJAX}/users/roles/list?username=ada").status_code == 403
        assert persons.ask(name, "GET", f"{AJAX}/roles/list").status_code == 403


# Why it has a host of its own -----------------------------------------------------------------------------------------

# A script in a picture: it makes mia an administrator. And one that asks another host for the same.
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><rect width="60" height="40"/><script>
fetch(location.origin + "/ajax-api/3.0/mlflow/roles/assign", {
    method: "POST", body: '{"username": "mia", "role_id": 4}'
});
</script></svg>"""
CROSS = """async target => (await fetch(target, {
    method: "POST", mode: "no-cors", credentials: "include", body: '{"username": "mia", "role_id": 4}'
})).type"""


@dataclass
class Browsing:
    """The administrator's browser, logged in at both hosts."""

    context: BrowserContext
    dropped: list[str] = field(default_factory=list)

    def steadily(self, work: Callable[[Page], None]) -> None:
        """Does something with a page, again where Chromium has dropped its connections: a container has started."""
        for _ in range(4):
            self.dropped.clear()
            page = self.context.new_page()
            try:
                work(page)
            except (AssertionError, PlaywrightError):
                if not self.dropped:
                    raise
            else:
                return
            finally:
                page.close()
        pytest.fail(f"dropped at each try: {self.dropped}")


@pytest.fixture
def browsing(browser: Browser, outside: tuple[str, list[str]]) -> Iterator[Browsing]:
    """A new profile."""
    context = browser.new_context(
        proxy={"server": outside[0], "bypass": "*.localhost,localhost"},
        http_credentials={"username": "ada", "password": PASSWORD},
        ignore_https_errors=True,
    )
    context.set_default_timeout(20_000)
    made = Browsing(context)
    context.on(
        "requestfailed",
        lambda request: made.dropped.append(request.url) if "NETWORK_CHANGED" in (request.failure or "") else None,
    )
    yield made
    context.close()


def address(persons: Persons, host: str) -> str:
    return f"https://{host}:{persons.stack.port('proxy', 443)}"


def stored(persons: Persons, name: str, content: str) -> str:
    """Has mia log an artifact, and returns where the UI shows it."""
    with persons.client("mia") as client:
        experiment = client.get_experiment_by_name("churn")
        assert experiment is not None
        run = client.create_run(experiment.experiment_id).info
        client.log_text(run.run_id, content, name)
        return f"/#/experiments/{experiment.experiment_id}/runs/{run.run_id}/artifacts/{name}"


def test_script_in_a_picture_changes_nothing(persons: Persons, browsing: Browsing) -> None:
    """The UI shows an SVG picture; opened in a tab of its own, its script has the server's address."""
    picture = address(persons, "localhost") + stored(persons, "a.svg", SVG)

    def look(page: Page) -> None:
        page.goto(picture)
        blob = page.locator("img[alt='a.svg']").first.get_attribute("src") or ""
        assert blob.startswith("blob:https://localhost")
        tab = page.context.new_page()
        with tab.expect_response("**/roles/assign") as sent:
            tab.goto(blob)
        browser_says = sent.value.request.all_headers()
        assert browser_says["sec-fetch-site"] == "same-origin"
        assert browser_says["origin"] == address(persons, "localhost")
        assert sent.value.status == 403

    browsing.steadily(look)
    assert "mia member" in listed(persons)


def test_other_host_does_not_reach_the_page(persons: Persons, browsing: Browsing) -> None:
    """A script at the UI's address asks the admin page's for a change, where the browser is logged in too."""
    target = address(persons, HOST)

    def ask(page: Page) -> None:
        page.goto(f"{target}/ajax-api/2.0/mlflow/users/current")
        page.goto(f"{address(persons, 'localhost')}/ajax-api/2.0/mlflow/users/current")
        with page.expect_response("**/roles/assign") as sent:
            assert page.evaluate(CROSS, f"{target}{AJAX}/roles/assign") == "opaque"
        # Of names below localhost Chromium says cross-site, of others same-site.
        assert sent.value.request.all_headers()["sec-fetch-site"].endswith("-site")
        # Without the login where the browser keeps it back.
        assert sent.value.status in (401, 403)

    browsing.steadily(ask)
    assert "mia member" in listed(persons)


@pytest.fixture(scope="module")
def place(persons: Persons) -> Place:
    """A run, a logged model, a trace and a registered model, whose versions are in the run's folder m."""
    return Place.make(persons, "shown")


@pytest.mark.parametrize("name", ["a.html", "a.htm", "a.svg", "a.xhtml", "a.xml", "a.xsl", "a.pdf", "a.mjs", "a"])
def test_artifact_is_no_document(persons: Persons, own: dict[str, str], place: Place, name: str) -> None:
    """Each route of artifacts answers with an attachment, whose type no browser guesses; at the admin host none."""
    attachment = str(uuid.uuid4())
    run, model = f"{place.run}/artifacts/m/{name}", f"models/{place.logged_model}/artifacts/{name}"
    for path in (run, model, f"traces/{place.trace}/artifacts/attachments/{attachment}"):
        put = f"/api/2.0/mlflow-artifacts/artifacts/{place.experiment}/{path}"
        assert persons.ask("ada", "PUT", put, data=SVG.encode()).ok
    for path in (
        f"/get-artifact?path=m/{name}&run_uuid={place.run}",
        f"/model-versions/get-artifact?path={name}&name={place.model}&version=1",
        f"{AJAX2}/logged-models/{place.logged_model}/artifacts/files?artifact_file_path={name}",
        f"{AJAX2}/get-trace-artifact?request_id={place.trace}&path={attachment}",
        f"/api/2.0/mlflow-artifacts/artifacts/{place.experiment}/{run}",
        f"/ajax-api/2.0/mlflow-artifacts/artifacts/{place.experiment}/{run}",
    ):
        answer = persons.ask("ada", "GET", path)
        assert (path, answer.content.decode()) == (path, SVG)
        assert answer.headers["Content-Disposition"].startswith("attachment"), path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        refused = persons.ask("ada", "GET", path, headers={"Host": own["Host"]})
        assert (path, refused.status_code) == (path, 403)
        assert "is for users, roles and grants alone" in refused.json()["message"]


# The page itself ------------------------------------------------------------------------------------------------------


def test_page_gives_a_role_and_a_grant(persons: Persons, browsing: Browsing) -> None:
    """In Chromium, by its buttons; no script of it is stopped by the host's policy, and the page shows it then."""
    problems: list[str] = []

    def edit(page: Page) -> None:
        user(persons.stack, "role", "vera", "viewer")
        persons.stack.sql("DELETE FROM people.grants")
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if "Policy" in message.text else None)
        page.goto(f"{address(persons, HOST)}/#/admin")
        for name in PEOPLE:
            expect(page.get_by_role("link", name=name, exact=True)).to_be_visible(timeout=SOON)
        page.get_by_role("link", name="vera", exact=True).click()
        page.get_by_role("button", name="Edit access").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("combobox").first.click()
        for role in ("release", "viewer"):
            page.get_by_role("option", name=f"default/{role}").click()
        page.keyboard.press("Escape")
        dialog.get_by_text("Select experiment").first.click()
        page.get_by_role("option", name="churn").click()
        dialog.locator("#admin-direct-permission-level").click()
        page.get_by_role("option", name="EDIT", exact=True).click()
        for button in ("Add", "Review changes", "Apply changes"):
            dialog.get_by_role("button", name=button, exact=True).click()
        expect(dialog).to_be_hidden(timeout=SOON)
        page.get_by_role("tab", name="Permissions").click()
        expect(page.get_by_text("Direct", exact=True)).to_be_visible(timeout=SOON)

    browsing.steadily(edit)
    assert "vera release; member experiment churn" in listed(persons)
    assert problems == []
    user(persons.stack, "revoke", "vera", "--experiment", "churn")
    user(persons.stack, "role", "vera", "viewer")


def test_page_says_what_is_not_here(persons: Persons, browsing: Browsing) -> None:
    """Somebody is made by the command: the page shows its name, and the password goes nowhere."""

    def create(page: Page) -> None:
        page.goto(f"{address(persons, HOST)}/#/admin")
        page.get_by_role("button", name="Create User").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_placeholder("Enter username").fill("newcomer")
        dialog.get_by_placeholder("Enter password").fill("secret of a newcomer")
        dialog.get_by_role("button", name="Create user").click()
        expect(dialog.get_by_text("docker compose exec proxy user add")).to_be_visible(timeout=SOON)

    browsing.steadily(create)
    assert not [line for line in listed(persons) if line.startswith("newcomer")]
    record = persons.stack.exec("mlflow", "audit", "--since", "1h", "--change", "add-user")
    assert "users/create 400" in record
    assert "secret of" not in record + persons.stack.logs("mlflow")
