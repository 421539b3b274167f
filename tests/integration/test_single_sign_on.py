"""A stack with single sign-on: people log in at an OpenID Connect provider, and its groups give them their roles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from docker.errors import ImageNotFound

from .conftest import NewStack
from .identity_provider import Provider, running
from .people import AUTH_ON
from .stack import Stack, free_port, wait_until

ROLES = "ml-admins=admin,ml-team=member,everyone=viewer"
PAGE = {"Accept": "text/html"}


class Signed:
    """A stack, the provider that its people log in at, and a browser for each of them."""

    def __init__(self, stack: Stack, provider: Provider, authority: Path) -> None:
        self.stack = stack
        self.provider = provider
        self.authority = str(authority)

    @property
    def url(self) -> str:
        """The proxy's address."""
        return f"https://localhost:{self.stack.port('proxy', 443)}"

    def browser(self) -> requests.Session:
        """Returns a browser that nobody has used."""
        session = requests.Session()
        # Else a bundle of certificates in the environment counts for more.
        session.trust_env = False
        session.verify = self.authority
        return session

    def log_in(self, name: str) -> requests.Session:
        """Opens the UI, follows to the provider, says who one is there, and follows back."""
        browser = self.browser()
        asked = browser.get(f"{self.url}/?page=1", headers=PAGE, timeout=60)
        assert asked.url.startswith(f"{self.provider.issuer}/oauth2/authorize?")
        opened = browser.post(asked.url, data={"sub": name}, headers=PAGE, timeout=60)
        assert opened.url == f"{self.url}/?page=1"
        self.opened = opened
        return browser

    def me(self, browser: requests.Session) -> str:
        """Returns who somebody is for the server, or the refusal's status."""
        answer = browser.get(f"{self.url}/people/me", timeout=60)
        return answer.text.strip() if answer.ok else str(answer.status_code)

    def user(self, *args: str) -> str:
        """Runs `user` in the proxy's container and returns what it prints."""
        return self.stack.exec("proxy", "user", *args).strip()


@pytest.fixture(scope="module")
def signed(new_stack: NewStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    """The stack, and a provider with alice, vera and eve."""
    settings = {
        **AUTH_ON,
        "SSO_ISSUER": "http://not.known.yet",
        "SSO_CLIENT_ID": "mlflow",
        "SSO_ROLES": ROLES,
        "SSO_REFRESH": "1s",
        "SSO_TOKEN_DAYS": "30",
    }
    with ExitStack() as ending:
        stack = ending.enter_context(new_stack(settings=settings, files=("compose.sso.yaml",)))
        (stack.secrets / "sso-client-secret").write_text("the client's secret\n")
        networks = json.loads(stack.files[-1].read_text())["networks"]
        subnet = networks["outside"]["ipam"]["config"][0]["subnet"]
        gateway = subnet.rpartition(".")[0] + f".{int(subnet.rpartition('.')[2].partition('/')[0]) + 1}"
        stack.environment["SSO_ISSUER"] = f"http://{gateway}:{free_port()}"
        try:
            stack.docker.images.get(stack.image("sso"))
        except ImageNotFound:
            # Compiled, which takes minutes.
            stack.compose("build", "sso", timeout=1800)
        provider = ending.enter_context(running(stack.environment["SSO_ISSUER"]))
        stack.up()
        provider.put("alice", "others", "ml-team", "everyone")
        provider.put("vera", "everyone")
        provider.put("eve", "others")
        authority = tmp_path_factory.mktemp("authority") / "root.crt"
        authority.write_text(stack.exec("proxy", "cat", "/data/caddy/pki/authorities/local/root.crt"))
        yield Signed(stack, provider, authority)


def test_login_at_the_provider_opens_the_ui(signed: Signed) -> None:
    """The role is that of the groups, the run is the login's, and the record says how it was known."""
    alice = signed.log_in("alice")
    assert signed.opened.status_code == 200
    assert "MLflow" in signed.opened.text
    assert signed.me(alice) == "alice@example.org member"
    body = {"experiment_id": "0", "user_id": "somebody"}
    made = alice.post(f"{signed.url}/api/2.0/mlflow/runs/create", json=body, timeout=60)
    assert made.json()["run"]["info"]["user_id"] == "alice@example.org"
    rows = signed.stack.exec("mlflow", "audit", "--json", "--who", "alice@example.org").splitlines()
    found = [json.loads(row) for row in rows]
    assert [row["by"] for row in found if row["change"] == "create-run"] == ["sso"]
    assert [row["object"] for row in found if row["change"] == "change-role"] == ["alice@example.org member"]
    assert "alice@example.org member" in signed.user("list")


def test_roles_are_the_groups(signed: Signed) -> None:
    vera = signed.log_in("vera")
    assert signed.me(vera) == "vera@example.org viewer"
    refused = vera.post(f"{signed.url}/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}, timeout=60)
    assert refused.status_code == 403
    eve = signed.log_in("eve")
    assert signed.opened.status_code == 403
    assert signed.opened.text == '"eve@example.org" is in no group that has a role here (SSO_ROLES)\n'
    assert signed.me(eve) == "403"


def test_headers_cannot_be_forged(signed: Signed) -> None:
    """Neither what oauth2-proxy says nor what the proxy says, with a session and without, at the proxy and inside."""
    vera = signed.log_in("vera")
    for forged in (
        {"X-Auth-Request-Email": "ada@example.org", "X-Auth-Request-Groups": "ml-admins"},
        {"X-Replica-User": "ada@example.org", "X-Replica-Role": "admin", "X-Replica-Proof": "a guess"},
        {"x-replica-role": "admin"},
        {"X-Forwarded-User": "ada@example.org", "X-Forwarded-Groups": "ml-admins"},
        {"Cookie": "__Host-mlflow=a guess"},
    ):
        answer = signed.browser().get(f"{signed.url}/people/me", headers=forged, timeout=60)
        assert answer.status_code == 401
        assert "a login is needed" in answer.text
        if "Cookie" not in forged:
            answer = vera.get(f"{signed.url}/people/me", headers=forged, timeout=60)
            assert (answer.status_code, answer.text) == (200, "vera@example.org viewer\n")
        inside = requests.get(f"{signed.stack.url}/people/me", headers=forged, timeout=60)
        assert inside.status_code in (401, 403)


def test_other_paths_of_the_login_are_closed(signed: Signed) -> None:
    """What is open for the login opens nothing else, however the path is spelled."""
    for path in (
        "/oauth2/../people/me",
        "/oauth2/auth",
        "/oauth2/start/../../people/me",
        "/oauth2/userinfo",
        "/OAUTH2/AUTH",
    ):
        request = requests.Request("GET", signed.url).prepare()
        request.url = signed.url + path
        with signed.browser() as browser:
            answer = browser.send(request, verify=signed.authority, timeout=60, allow_redirects=False)
        assert answer.status_code == 401


def test_session_keeps_the_role_of_its_groups(signed: Signed) -> None:
    """Nor does a header that Connection names, and so goes no further, leave the role that the server remembers."""
    signed.provider.put("conny", "ml-team")
    conny = signed.log_in("conny")
    assert signed.me(conny) == "conny@example.org member"
    signed.provider.put("conny", "everyone")
    hidden = {"Connection": "keep-alive, X-Replica-Role"}

    def is_viewer() -> bool:
        answer = conny.get(f"{signed.url}/people/me", headers=hidden, timeout=60)
        return answer.text == "conny@example.org viewer\n"

    wait_until(is_viewer, "the groups are read again")


def test_tokens_do_not_reach_the_login(signed: Signed) -> None:
    """A token is judged by the server, however the path is spelled, or not looked at."""
    wrong = {"Authorization": f"Bearer mlr_{'a' * 43}"}
    for path, status in {"/oauth2/start": 302, "/OAUTH2/START": 401, "/oauth2//start": 401}.items():
        request = requests.Request("GET", signed.url, headers=wrong).prepare()
        request.url = signed.url + path
        with signed.browser() as browser:
            answer = browser.send(request, verify=signed.authority, timeout=60, allow_redirects=False)
        assert answer.status_code == status


def test_group_change_changes_the_role(signed: Signed) -> None:
    """The session's at its next refresh; and with it that of the person's tokens."""
    signed.provider.put("gina", "ml-team")
    gina = signed.log_in("gina")
    assert signed.me(gina) == "gina@example.org member"
    token = signed.user("token", "add", "gina@example.org", "--name", "ci")
    program = {"Authorization": f"Bearer {token}"}
    signed.provider.put("gina", "everyone")
    wait_until(lambda: signed.me(gina) == "gina@example.org viewer", "the groups are read again")
    answer = requests.get(f"{signed.stack.url}/people/me", headers=program, timeout=60)
    assert answer.text == "gina@example.org viewer\n"


def test_removed_person_is_let_in_no_more(signed: Signed) -> None:
    signed.provider.put("rob", "ml-team")
    rob = signed.log_in("rob")
    token = signed.user("token", "add", "rob@example.org", "--name", "ci")
    signed.provider.remove("rob")
    wait_until(lambda: signed.me(rob) == "401", "the session has ended")
    # Programs of theirs go on until they are removed here too.
    program = {"Authorization": f"Bearer {token}"}
    assert requests.get(f"{signed.stack.url}/people/me", headers=program, timeout=60).ok
    signed.user("remove", "rob@example.org")
    assert requests.get(f"{signed.stack.url}/people/me", headers=program, timeout=60).status_code == 401
    assert "rob" not in signed.user("list")


def test_tokens_end_without_a_login(signed: Signed) -> None:
    """SSO_TOKEN_DAYS after the person was here last, until they are here again."""
    signed.provider.put("tess", "ml-team")
    tess = signed.log_in("tess")
    assert signed.me(tess) == "tess@example.org member"
    token = signed.user("token", "add", "tess@example.org", "--name", "ci")

    def ask() -> requests.Response:
        return requests.get(f"{signed.stack.url}/people/me", headers={"Authorization": f"Bearer {token}"}, timeout=60)

    last = "UPDATE people.users SET sso_seen = current_date - %s WHERE name = 'tess@example.org'"
    signed.stack.sql(last, 29)
    assert ask().text == "tess@example.org member\n"
    signed.stack.sql(last, 31)
    wait_until(lambda: ask().status_code == 401, "the server is told")
    assert ask().json()["message"] == "The token ci of tess@example.org has expired"
    assert signed.me(tess) == "tess@example.org member"
    assert ask().text == "tess@example.org member\n"
    # Being here is no change.
    rows = signed.stack.exec("mlflow", "audit", "--json", "--who", "tess@example.org", "--change", "change-role")
    assert len(rows.splitlines()) == 1


def test_nobody_becomes_a_local_user(signed: Signed) -> None:
    """Who is called at the provider like a user of the stack's own is refused, and that user's role stays."""
    signed.stack.exec("proxy", "bash", "-c", 'user add luke@example.org --role admin <<<"$0"', "correct horse battery")
    signed.provider.put("luke", "everyone")
    luke = signed.log_in("luke")
    assert signed.opened.status_code == 403
    assert "luke@example.org is a user that this stack has made" in signed.opened.json()["message"]
    assert signed.me(luke) == "403"
    assert "luke@example.org admin" in signed.user("list").splitlines()
    login = ("luke@example.org", "correct horse battery")
    answer = requests.get(f"{signed.url}/people/me", auth=login, verify=signed.authority, timeout=60)
    assert answer.text == "luke@example.org admin\n"
    # The other way round, the operator decides: somebody from the provider gets a password too.
    signed.provider.put("lucy", "ml-team")
    lucy = signed.log_in("lucy")
    signed.stack.exec("proxy", "bash", "-c", 'user add lucy@example.org <<<"$0"', "correct horse battery")
    answer = requests.get(
        f"{signed.url}/people/me", auth=("lucy@example.org", login[1]), verify=signed.authority, timeout=60
    )
    assert answer.text == "lucy@example.org member\n"
    assert signed.me(lucy) == "lucy@example.org member"


def test_person_gets_a_grant_by_name(signed: Signed) -> None:
    """Whatever their groups are; their session and their tokens have it."""
    signed.provider.put("gwen", "everyone")
    gwen = signed.log_in("gwen")
    body = {"experiment_id": "0"}
    create = f"{signed.url}/api/2.0/mlflow/runs/create"
    assert gwen.post(create, json=body, timeout=60).status_code == 403
    signed.user("grant", "gwen@example.org", "member", "--experiment", "Default")
    assert gwen.post(create, json=body, timeout=60).status_code == 200
    assert "gwen@example.org viewer; member experiment Default" in signed.user("list").splitlines()


def test_logging_out_ends_the_session(signed: Signed) -> None:
    vera = signed.log_in("vera")
    vera.get(f"{signed.url}/oauth2/sign_out", allow_redirects=False, timeout=60)
    assert signed.me(vera) == "401"


def test_programs_go_on_with_tokens(signed: Signed) -> None:
    signed.log_in("alice")
    token = signed.user("token", "add", "alice@example.org", "--name", "program")
    for login in ({"headers": {"Authorization": f"Bearer {token}"}}, {"auth": ("alice@example.org", token)}):
        answer = requests.get(f"{signed.url}/people/me", verify=signed.authority, timeout=60, **login)
        assert answer.text == "alice@example.org member\n"
    # A program without one is refused, and not sent to a page.
    answer = signed.browser().get(f"{signed.url}/people/me", allow_redirects=False, timeout=60)
    assert answer.status_code == 401


def test_oauth2_proxy_reaches_nothing_of_the_stack(signed: Signed) -> None:
    """It is on the network with a way out alone, with few rights; its secrets are files, and show nowhere."""
    found = signed.stack.container("sso").attrs
    host = found["HostConfig"]
    assert list(found["NetworkSettings"]["Networks"]) == [f"{signed.stack.project}_outside"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["PortBindings"]) == (True, ["ALL"], {})
    assert signed.stack.read("sso", "id", "-u") == "1009\n"
    assert [one["Destination"] for one in found["Mounts"]] == ["/run/secrets/sso"]
    secrets = [signed.stack.read_secret("sso", f"/run/secrets/sso/{name}") for name in ("cookie", "client-secret")]
    arguments = signed.stack.read("sso", "cat", "/proc/1/cmdline", "/proc/1/environ")
    shown = signed.stack.logs() + json.dumps(found) + arguments
    assert [secret for secret in secrets if secret in shown] == []


@pytest.mark.parametrize(
    ("service", "settings", "said"),
    [
        ("proxy", {"SSO_ROLES": "ml-team=wizard"}, 'proxy: error: SSO_ROLES is "ml-team=wizard": it maps groups'),
        ("proxy", {"AUTH": "off"}, "proxy: error: single sign-on (compose.sso.yaml) needs AUTH=on"),
        ("sso", {"SSO_ISSUER": "login.example.org"}, "sso: error: SSO_ISSUER is no address of a provider"),
        ("sso", {"SSO_REFRESH": "soon"}, 'sso: error: SSO_REFRESH is "soon"'),
    ],
)
def test_wrong_setting_is_one_line(signed: Signed, service: str, settings: dict[str, str], said: str) -> None:
    done = signed.stack.compose("run", "--rm", "--no-deps", "-T", service, check=False, settings=settings)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert line.startswith(said)


def test_provider_away_lets_nobody_in(signed: Signed) -> None:
    """One line says what is the matter, and programs go on. It leaves the stack without: the last test here."""
    alice = signed.log_in("alice")
    token = signed.user("token", "add", "alice@example.org", "--name", "away")
    gone = signed.stack.environment["SSO_ISSUER"].rpartition(":")[0] + f":{free_port()}"

    def refused(status: int) -> Callable[[], bool]:
        return lambda: signed.me(alice) == str(status)

    # A provider that does not answer, to one that starts and to one that asks it again.
    signed.stack.compose("stop", "sso")
    assert refused(502)()
    answer = alice.get(signed.url, headers=PAGE, timeout=60)
    assert answer.text == "what is behind this proxy does not answer; the stack's logs say why"
    signed.stack.compose("up", "--detach", "--no-deps", "sso", settings={"SSO_ISSUER": gone})
    wait_until(lambda: "error performing request" in signed.stack.logs("sso"), "oauth2-proxy has asked the provider")
    assert refused(502)()
    program = {"Authorization": f"Bearer {token}"}
    assert requests.get(f"{signed.url}/people/me", headers=program, verify=signed.authority, timeout=60).ok
