"""HTTPS and a login in front of the stack: strangers get nothing, users everything, and no password goes further."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pytest
import requests
import urllib3
from mlflow import MlflowClient

from .certificates import make_certificate
from .client_programs import find_program
from .stack import ROOT, Stack, wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container

# Of characters that mean something to a shell or in a configuration.
PASSWORD = 'a "passphrase": 12 \\ or more'
# Stands in MLflow's place, and answers with the headers that reach it.
ECHO = """
import http.server, json
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("", 5000), Echo).serve_forever()
"""
# Stands in Let's Encrypt's place: the authority that Caddy can be, and its address.
AUTHORITY = """
{
    admin off
    storage file_system /data
}
%s {
    tls internal
    acme_server
}
"""


def user(stack: Stack, *args: str, password: str = "") -> str:
    """Runs `user` in the proxy's container, as a person would, and returns what it prints."""
    return stack.exec("proxy", "bash", "-c", 'user "$@" <<<"$0"', password, *args)


@pytest.fixture(scope="module")
def authority(stack: Stack, proxy: Container, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The certificate of the authority that Caddy has made up, as a person gets it out of the container."""
    file = tmp_path_factory.mktemp("authority") / "root.crt"
    file.write_text(stack.exec("proxy", "cat", "/data/caddy/pki/authorities/local/root.crt"))
    return str(file)


@pytest.fixture
def url(stack: Stack, proxy: Container) -> str:
    """The proxy's address."""
    return f"https://localhost:{stack.port('proxy', 443)}"


def expect_answer(stack: Stack, authority: str, status: int, login: tuple[str, str]) -> None:
    """Checks that this login is answered so from now on: the file of users is read again as soon as it has changed."""
    address = f"https://localhost:{stack.port('proxy', 443)}/health"
    assert requests.get(address, auth=login, verify=authority, timeout=30).status_code == status


@pytest.fixture(scope="module")
def alice(stack: Stack, authority: str) -> tuple[str, str]:
    """A user: name and password."""
    assert user(stack, "add", "alice", password=PASSWORD) == ""
    expect_answer(stack, authority, 200, ("alice", PASSWORD))
    return "alice", PASSWORD


# Who gets in ----------------------------------------------------------------------------------------------------------


# Each wrong login once: more than ten a minute from one address are answered otherwise.
@pytest.mark.parametrize(
    ("path", "login"),
    [
        ("/", None),
        ("/health", None),
        ("/api/2.0/mlflow/experiments/get", None),
        ("/get-artifact", None),
        ("/invocations", None),
        ("/", ("alice", "not her password")),
        ("/get-artifact", ("mallory", PASSWORD)),
        ("/invocations", ("", "")),
    ],
)
def test_stranger_gets_nothing(
    url: str, authority: str, alice: tuple[str, str], path: str, login: tuple[str, str] | None
) -> None:
    answer = requests.get(url + path, auth=login, verify=authority, timeout=30)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="MLflow"'
    assert "a login is needed" in answer.text


def test_client_with_a_login_tracks_and_reads_back(
    url: str, authority: str, alice: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", alice[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", alice[1])
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", authority)
    client = MlflowClient(url)
    run = client.create_run("0").info.run_id
    file = tmp_path / "large.bin"
    file.write_bytes(bytes(range(256)) * (20 << 12))  # 20 MiB
    client.log_artifact(run, str(file))
    # Downloads look the server up by the global address.
    before = mlflow.get_tracking_uri()
    try:
        mlflow.set_tracking_uri(url)
        got = Path(client.download_artifacts(run, "large.bin", str(tmp_path)))
    finally:
        mlflow.set_tracking_uri(before)
    assert got.read_bytes() == bytes(range(256)) * (20 << 12)


def test_curl_example_takes_a_login(url: str, authority: str, alice: tuple[str, str]) -> None:
    find_program("jq", install="jq")
    find_program("curl", install="curl 7.82 or newer")

    def track(password: str) -> subprocess.CompletedProcess[str]:
        login = {"MLFLOW_TRACKING_USERNAME": alice[0], "MLFLOW_TRACKING_PASSWORD": password}
        environment = {"PATH": os.environ["PATH"], "MLFLOW_TRACKING_URI": url, "CURL_CA_BUNDLE": authority, **login}
        example = ROOT / "examples" / "curl" / "track-run"
        return subprocess.run([str(example)], env=environment, capture_output=True, text=True, timeout=60, check=False)

    done = track(alice[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert "client = curl" in done.stdout
    refused = track('not "her" \\ password')
    assert refused.returncode == 1
    assert "a login is needed" in refused.stderr


def test_champion_answers_users(
    url: str, authority: str, alice: tuple[str, str], serving: Container, baseline: dict[str, Any]
) -> None:
    example = mlflow.pyfunc.load_model(baseline["model_uri"]).input_example
    body = {"dataframe_records": json.loads(example.to_json(orient="records"))}
    answer = requests.post(f"{url}/invocations", json=body, auth=alice, verify=authority, timeout=30)
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == len(example)


def test_other_page_cannot_use_the_browser_login(url: str, authority: str, alice: tuple[str, str]) -> None:
    """Page elsewhere gets nothing done by a users browser."""

    def search(**headers: str) -> int:
        address = f"{url}/ajax-api/2.0/mlflow/experiments/search"
        body = {"max_results": 1}
        return requests.post(address, json=body, headers=headers, auth=alice, verify=authority, timeout=30).status_code

    assert search(Origin=url) == 200
    assert search(Origin="https://evil.example") == 403
    assert search(Host="evil.example") == 403


# Users ----------------------------------------------------------------------------------------------------------------


def test_user_comes_and_goes_at_once(stack: Stack, authority: str) -> None:
    # None is given: one is generated, and printed.
    password = user(stack, "add", "bob").strip()
    assert len(password) == 24
    expect_answer(stack, authority, 200, ("bob", password))
    assert "bob" in user(stack, "list").split()
    user(stack, "add", "bob", password="another password")
    expect_answer(stack, authority, 200, ("bob", "another password"))
    expect_answer(stack, authority, 401, ("bob", password))
    user(stack, "remove", "bob")
    assert "bob" not in user(stack, "list").split()
    expect_answer(stack, authority, 401, ("bob", "another password"))


def test_password_may_look_like_an_option(stack: Stack, authority: str) -> None:
    user(stack, "add", "dash", password="-nnnnnnnnnnn")
    expect_answer(stack, authority, 200, ("dash", "-nnnnnnnnnnn"))


def test_equal_numbers_are_two_user_names(stack: Stack, proxy: Container) -> None:
    """Names that are the same number are two users."""
    user(stack, "add", "007", password=PASSWORD)
    user(stack, "add", "7", password=PASSWORD)
    user(stack, "remove", "7")
    assert "007" in user(stack, "list").split()
    assert stack.container("proxy").exec_run(["user", "remove", "7.0"]).exit_code == 2


def test_users_added_at_once_are_all_there(stack: Stack, proxy: Container) -> None:
    """Users added at once are all there and fit into the memory."""
    names = [f"user{number}" for number in range(8)]
    stack.exec("proxy", "bash", "-c", 'for name; do user add "$name" <<<"$0" & done; wait', PASSWORD, *names)
    assert set(names) <= set(user(stack, "list").split())
    state = stack.container("proxy").attrs
    assert (state["RestartCount"], state["State"]["StartedAt"]) == (0, proxy.attrs["State"]["StartedAt"])


@pytest.mark.parametrize(
    ("args", "password", "message"),
    [
        (("add", "two words"), PASSWORD, '"two words" is no name'),
        (("add", "line\nbreak"), PASSWORD, "is no name"),
        (("add", "{env.HOME}"), PASSWORD, "is no name"),
        (("add", ""), PASSWORD, "is no name"),
        # It would begin a comment.
        (("add", "#carol"), PASSWORD, "is no name"),
        (("add", "carol"), "too short", "shorter than 12 characters"),
        (("add", "carol"), "x" * 73, "longer than 72 bytes"),
        (("add", "carol"), "from a file of Windows\r", "control character"),
        (("remove", "carol"), "", 'there is no user "carol"'),
        (("remove",), "", "user add NAME [--role ROLE], user remove NAME, user role NAME ROLE, user list"),
        (("show", "carol"), "", "user add NAME [--role ROLE], user remove NAME, user role NAME ROLE, user list"),
    ],
)
def test_wrong_use_is_one_line_and_changes_nothing(
    stack: Stack, proxy: Container, args: tuple[str, ...], password: str, message: str
) -> None:
    before = stack.read("proxy", "cat", "/data/users")
    code, text = stack.refusal("proxy", "bash", "-c", 'user "$@" <<<"$0"', password, *args)
    assert code == 2
    assert text.startswith("user: error: ")
    assert message in text
    assert stack.read("proxy", "cat", "/data/users") == before


# What a user's command does in a container of its own, whose /data holds 16 KiB.
FULL = """
user add alice <<<"$0"
head -c 100000 /dev/zero >/data/fill 2>/dev/null
for command in "add alice" "add bob" "remove alice"; do user $command <<<"" 2>&1; echo "exit code $?"; done
rm /data/fill
for part in 1 2 3 4 5 6 7 8; do
    setsid user add "name$part" <<<"$0" &
    sleep "0.0$part"
    kill -KILL -- "-$!"
done
wait
user list | grep alice
awk 'NR > 1 && NF != 2' /data/users
user add carol <<<"$0"
user list | grep carol
ls /data
"""


def test_full_disk_or_a_kill_leaves_users_whole(stack: Stack, proxy: Container) -> None:
    done = stack.docker.containers.run(
        stack.image("proxy"),
        entrypoint=["bash", "-c", FULL, PASSWORD],
        tmpfs={"/data": "uid=1006,size=16k,mode=700"},
        network_mode="none",
        remove=True,
    )
    lines = done.decode().splitlines()
    for refusal, code in zip(lines[:6:2], lines[1:6:2], strict=True):
        assert refusal.startswith("user: error: nothing is changed: ")
        assert "No space left on device" in refusal
        assert code == "exit code 2"
    # What was killed left at most a file that the next one replaces.
    assert lines[6:] == ["alice", "carol", "users", "users.lock"]


# Names and certificates: what is behind the proxy does not matter ---------------------------------------------------


@pytest.fixture(scope="module")
def own(new_stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Path]]:
    """A proxy with names and a certificate of the user's own, before a server that echoes; and the certificate."""
    certificate, key = make_certificate(tmp_path_factory.mktemp("certificate"), "tracking.test", "models.test")
    settings = {
        "MLFLOW_PUBLIC_HOSTS": "tracking.test, models.test:8443, Tracking.test",
        "PROXY_CERTIFICATE_FILE": str(certificate),
        "PROXY_KEY_FILE": str(key),
    }
    with new_stack(settings=settings) as stack:
        stack.up("--no-deps", "proxy")
        user(stack, "add", "alice", password=PASSWORD)
        echo = stack.docker.containers.create(
            stack.image("trainer"), entrypoint=["python3", "-c", ECHO], network_mode="none"
        )
        try:
            stack.docker.networks.get("none").disconnect(echo)
            stack.docker.networks.get(f"{stack.project}_inside").connect(echo, aliases=["mlflow"])
            echo.start()
            wait_until(lambda: answers(stack, certificate), "alice is answered", 20)
            yield stack, certificate
        finally:
            echo.remove(force=True)


def ask(
    stack: Stack, name: str, certificate: Path, host: str = "", path: str = "/version", **further: str
) -> urllib3.BaseHTTPResponse:
    """Asks the proxy by one of its names, which no DNS knows, as alice, with further headers."""
    pool = urllib3.HTTPSConnectionPool(
        "127.0.0.1",
        stack.port("proxy", 443),
        server_hostname=name,
        assert_hostname=name,
        ca_certs=str(certificate),
        retries=False,
        timeout=30,
    )
    headers = {"Host": host or name, **urllib3.make_headers(basic_auth=f"alice:{PASSWORD}"), **further}
    return pool.request("GET", path, headers=headers)


def answers(stack: Stack, certificate: Path) -> bool:
    """Whether the echo answers alice by now."""
    try:
        return ask(stack, "tracking.test", certificate).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@pytest.mark.parametrize("name", ["tracking.test", "models.test"])
def test_own_certificate_serves_each_public_name(own: tuple[Stack, Path], name: str) -> None:
    """Own certificate is shown under each public name."""
    stack, certificate = own
    assert ask(stack, name, certificate).status == 200


def test_password_is_written_nowhere(own: tuple[Stack, Path]) -> None:
    """Password goes no further and is written down nowhere."""
    stack, certificate = own
    answer = ask(stack, "tracking.test", certificate)
    assert "authorization" not in answer.json()
    assert answer.json()["host"] == "tracking.test"
    assert PASSWORD not in stack.exec("proxy", "cat", "/data/users")
    assert PASSWORD not in stack.logs()


def test_client_does_not_say_itself_who_it_is(own: tuple[Stack, Path]) -> None:
    stack, certificate = own
    claims = ["Remote-User", "X-Remote-User", "X-Forwarded-User", "X-Auth-Request-User", "X-Real-IP", "Forwarded"]
    claims += ["Remote_User", "X-Forwarded-Prefix", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"]
    answer = ask(stack, "tracking.test", certificate, **dict.fromkeys(claims, "forged.example"))
    assert answer.status == 200
    assert "forged.example" not in answer.data.decode()
    headers = answer.json()
    assert (headers["x-forwarded-host"], headers["x-forwarded-proto"]) == ("tracking.test", "https")
    assert not {claim.lower() for claim in claims[:8]} & set(headers)


def test_users_outlive_the_container(own: tuple[Stack, Path]) -> None:
    stack, certificate = own
    stack.up("--no-deps", "--force-recreate", "proxy")
    assert user(stack, "list").split() == ["alice"]
    wait_until(lambda: answers(stack, certificate), "alice is answered", 20)


def test_public_name_gets_a_certificate_by_acme(own: tuple[Stack, Path], tmp_path: Path) -> None:
    stack, _ = own
    names = [f"{stack.project}-{who}.test" for who in ("authority", "tracking")]
    made: list[Container] = []

    def start(name: str, **options: Any) -> Container:
        inside, outside = (f"{stack.project}_{network}" for network in ("inside", "outside"))
        made.append(stack.docker.containers.create(stack.image("proxy"), name=name, network=inside, **options))
        # Ports are published there only.
        stack.docker.networks.get(outside).connect(made[-1])
        made[-1].start()
        return made[-1]

    try:
        script = 'caddy run --adapter caddyfile --config - <<<"$0"'
        authority = start(names[0], entrypoint=["bash", "-c", script, AUTHORITY % names[0]])
        root = tmp_path / "root.crt"
        root_there = "until [ -s $0 ]; do sleep 0.1; done; cat $0"
        root.write_text(stack.exec(authority, "bash", "-c", root_there, "/data/pki/authorities/local/root.crt"))
        # As the service, but for the authority.
        caddyfile = tmp_path / "Caddyfile"
        options = f"admin off\nacme_ca https://{names[0]}/acme/local/directory\nacme_ca_root /run/root.crt\n"
        caddyfile.write_text((ROOT / "services/proxy/Caddyfile").read_text().replace("admin off\n", options))
        proxy = start(
            names[1],
            environment={"MLFLOW_PUBLIC_HOSTS": names[1], "PROXY_HTTPS_PORT": "443"},
            volumes=[f"{caddyfile}:/etc/caddy/Caddyfile:ro", f"{root}:/run/root.crt:ro"],
            ports={"443/tcp": ("127.0.0.1", None)},
        )
        wait_until(lambda: b"certificate obtained" in proxy.logs(), "the authority has given a certificate", 30)
        port = int(stack.docker.api.port(str(proxy.id), 443)[0]["HostPort"])
        context = ssl.create_default_context(cafile=str(root))
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            context.wrap_socket(plain, server_hostname=names[1]).close()
    finally:
        for container in made:
            container.remove(force=True, v=True)


def test_unknown_name_is_refused(own: tuple[Stack, Path]) -> None:
    stack, certificate = own
    answer = ask(stack, "tracking.test", certificate, host="evil.example")
    assert answer.status == 403
    assert b"not known by that name" in answer.data


def test_address_is_shown_a_certificate(own: tuple[Stack, Path]) -> None:
    """Client that calls an address is shown a certificate."""
    stack, certificate = own
    # Who calls an address names no host while connecting (TLS has no SNI for it).
    assert ssl.get_server_certificate(("127.0.0.1", stack.port("proxy", 443))) == certificate.read_text()


def test_new_certificate_is_used_after_up(own: tuple[Stack, Path], tmp_path: Path) -> None:
    """Other certificate takes effect at the next up."""
    stack, certificate = own
    other, key = make_certificate(tmp_path, "tracking.test")
    try:
        stack.up("--no-deps", "proxy", settings={"PROXY_CERTIFICATE_FILE": str(other), "PROXY_KEY_FILE": str(key)})
        assert ssl.get_server_certificate(("127.0.0.1", stack.port("proxy", 443))) == other.read_text()
    finally:
        stack.up("--no-deps", "proxy")
        wait_until(lambda: answers(stack, certificate), "alice is answered", 20)


def test_without_a_name_it_is_localhost(own: tuple[Stack, Path]) -> None:
    stack, _ = own
    settings = {"MLFLOW_PUBLIC_HOSTS": ",", "PROXY_CERTIFICATE_FILE": "", "PROXY_KEY_FILE": ""}
    container = stack.start("proxy", settings=settings)
    wait_until(lambda: b'identifier":"localhost' in container.logs(), "a certificate for localhost is made", 20)
    container.remove(force=True)


def test_http_redirects_to_the_published_port(own: tuple[Stack, Path]) -> None:
    """HTTP is sent on to HTTPS at the published port."""
    stack, _ = own
    address = f"http://127.0.0.1:{stack.port('proxy', 80)}/a?b=c"
    answer = requests.get(address, headers={"Host": "tracking.test"}, allow_redirects=False, timeout=30)
    assert answer.status_code == 308
    # As it was asked for: the system chose another.
    assert answer.headers["Location"] == "https://tracking.test:0/a?b=c"


def test_server_that_is_away_is_said_to_be(own: tuple[Stack, Path]) -> None:
    stack, certificate = own
    # Nothing serves a champion here.
    answer = ask(stack, "tracking.test", certificate, path="/ping")
    assert answer.status == 502
    assert b"does not answer" in answer.data


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"MLFLOW_PUBLIC_HOSTS": "https://tracking.test"}, '"https://tracking.test" is no host name'),
        ({"MLFLOW_PUBLIC_HOSTS": "tracking.test {"}, '"{" is no host name'),
        ({"MLFLOW_PUBLIC_HOSTS": "tracking..test"}, '"tracking..test" is no host name'),
        ({"MLFLOW_PUBLIC_HOSTS": "tracking.test,*"}, '"*" is no host name'),
        ({"MLFLOW_PUBLIC_HOSTS": "tracking.test\n-other"}, '"-other" is no host name'),
        ({"PROXY_CERTIFICATE_FILE": str(ROOT / "compose.yaml")}, "holds no certificate"),
        ({"PROXY_KEY_FILE": str(ROOT / "compose.yaml")}, "holds no private key"),
        ({"PROXY_KEY_FILE": "/dev/null"}, "belong together"),
        ({"MLFLOW_ACCESS_LOG": "yes"}, 'MLFLOW_ACCESS_LOG is "yes"'),
    ],
)
def test_wrong_setting_is_one_line(own: tuple[Stack, Path], settings: dict[str, str], message: str) -> None:
    stack, _ = own
    done = stack.compose("run", "--rm", "--no-deps", "-T", "proxy", settings=settings, check=False)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("proxy: ")]
    assert done.returncode == 1
    assert message in line
