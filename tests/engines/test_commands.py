"""The commands as a user runs them: each a process of its own, over a home of its own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command import Cove, alive, gone

COMMANDS = ("up", "down", "reset", "status", "env", "kubeconfig", "version", "doctor")


# -- starting and using


@pytest.mark.requires("kubectl")
def test_up_then_kubectl_with_the_printed_environment(cove: Cove) -> None:
    up = cove.attempt("up")
    exports = cove("env")
    shell = f"{exports}\nexec kubectl get nodes -o name"

    got = subprocess.run(
        ["/bin/sh", "-c", shell],
        env=cove.environment(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
    )

    assert up.code == 0
    assert "cluster cove is up in" in up.err
    assert 'use it: eval "$(cove env)"' in up.err
    assert up.out == ""
    assert got.stdout == "node/node-0\n", got.stderr


def test_a_second_up_leaves_the_cluster_as_it_is(cove: Cove) -> None:
    cove("up")
    pid = cove.status()["pid"]

    again = cove.attempt("up")
    other = cove.attempt("up", "--nodes", "7")

    assert (again.code, other.code) == (0, 0)
    assert f"cluster cove is already running (pid {pid})" in again.err
    assert "options differ" not in again.err
    assert "options differ" in other.err
    assert cove.status()["pid"] == pid


def test_starts_at_the_same_time_start_one_process(cove: Cove) -> None:
    command = [sys.executable, "-m", "cove.cli", "up", "--nodes", "0"]
    both = [
        subprocess.Popen(command, env=cove.environment(), stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    said = [process.communicate()[1] for process in both]

    assert [p.returncode for p in both] == [0, 0, 0], said
    assert sum("is up in" in text for text in said) == 1
    assert sum("already running" in text for text in said) == 2


@pytest.mark.requires("kubectl")
def test_two_clusters_side_by_side(cove: Cove) -> None:
    cove("up", "--nodes", "0", "--name", "left")
    cove("up", "--nodes", "0", COVE_CLUSTER="right")

    cove.kubectl("create", "namespace", "only-left", name="left")

    assert "only-left" in cove.kubectl("get", "namespaces", name="left")
    assert "only-left" not in cove.kubectl("get", "namespaces", name="right")
    rows = json.loads(cove("status", "-o", "json"))
    assert [(r["name"], r["state"]) for r in rows] == [("left", "running"), ("right", "running")]
    assert rows[0]["server"] != rows[1]["server"]


@pytest.mark.requires("kubectl")
def test_nodes_are_as_many_as_asked_for_and_stay_so(cove: Cove) -> None:
    cove("up", "--nodes", "3")
    first = cove.kubectl("get", "nodes", "-o", "name").split()
    cove("down")
    cove("up")

    assert first == ["node/node-0", "node/node-1", "node/node-2"]
    assert cove.status()["nodes"] == "3/3"


@pytest.mark.requires("kubectl")
def test_an_admission_plugin_can_be_turned_off(cove: Cove) -> None:
    cove("up", "--disable-admission", "ServiceAccount", "--nodes", "0")

    cove.kubectl("run", "plain", "--image=nginx")

    pod = json.loads(cove.kubectl("get", "pod", "plain", "-o", "json"))
    assert "serviceAccountName" not in pod["spec"]


def test_a_free_port_that_is_asked_for_is_used(cove: Cove) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    cove("up", "--nodes", "0", "--port", str(port))

    assert cove.status()["server"] == f"https://127.0.0.1:{port}"


# -- what commands print


def test_status_in_every_format(cove: Cove) -> None:
    none = cove.attempt("status")
    cove("up", "--nodes", "2")

    table = cove("status").splitlines()
    (as_json,) = json.loads(cove("status", "-o", "json"))
    (as_yaml,) = yaml.safe_load(cove("status", "-o", "yaml"))

    assert (none.code, none.out) == (0, "")
    assert "start one with `cove up`" in none.err
    assert table[0].split() == ["NAME", "STATE", "SERVER", "NODES", "PODS", "PID"]
    assert table[1].split() == [
        "cove", "running", as_json["server"], "2/2", "0/0", str(as_json["pid"])
    ]  # fmt: skip
    assert as_json == as_yaml
    assert alive(as_json["pid"])
    assert as_json["kubeconfig"] == str(cove.folder() / "kubeconfig")


def test_status_of_one_cluster_tells_by_its_exit_code(cove: Cove) -> None:
    cove("up", "--nodes", "0")
    running = cove.attempt("status", "--name", "cove").code
    cove("down")
    stopped = cove.attempt("status", "--name", "cove")

    assert (running, stopped.code) == (0, 1)
    assert stopped.out.splitlines()[1].split() == ["cove", "stopped"]


def test_env_and_kubeconfig(cove: Cove) -> None:
    cove("up", "--nodes", "0")
    path = str(cove.folder() / "kubeconfig")

    assert cove("env") == f"export KUBECONFIG={shlex.quote(path)}\nexport COVE_CLUSTER=cove\n"
    assert json.loads(cove("env", "-o", "json")) == {"KUBECONFIG": path, "COVE_CLUSTER": "cove"}
    assert cove("kubeconfig") == path + "\n"
    assert cove("kubeconfig", "--show") == Path(path).read_text()
    shown = yaml.safe_load(cove("kubeconfig", "--show"))
    assert shown["current-context"] == "cove"
    assert shown["clusters"][0]["cluster"]["server"] == cove.status()["server"]


def test_version_in_every_format(cove: Cove) -> None:
    from cove import __version__

    as_json = json.loads(cove("version", "-o", "json"))

    assert as_json["cove"] == __version__
    assert as_json["kubernetes"].startswith("v1.36")
    assert yaml.safe_load(cove("version", "-o", "yaml")) == as_json
    assert cove("version").splitlines() == [f"{k} {v}" for k, v in as_json.items()]
    assert cove("--version") == f"cove {__version__}\n"


def test_doctor_says_what_is_well_and_what_is_not(cove: Cove) -> None:
    cove("up", "--nodes", "0")

    well = cove.attempt("doctor", "-o", "json")
    ill = cove.attempt("doctor", COVE_HOME="/proc/none")

    findings = {f["check"]: f for f in json.loads(well.out)}
    assert well.code == 0
    assert {"python", "COVE_HOME", "loopback", "kubectl", "helm", "fuse"} <= findings.keys()
    assert f"running (pid {cove.status()['pid']})" in findings["cluster cove"]["detail"]
    assert ill.code == 1
    (line,) = (row for row in ill.out.splitlines() if "failed" in row)
    assert "/proc/none" in line
    assert "set COVE_HOME" in line


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help(cove: Cove, command: str) -> None:
    shown = cove(*filter(None, [command]), "--help")

    assert shown.startswith(f"Usage: cove {command}".rstrip())
    assert command or all(name in shown for name in COMMANDS)


# -- stopping


@pytest.mark.requires("kubectl")
def test_down_keeps_what_the_cluster_holds(cove: Cove) -> None:
    def seen() -> tuple[str, int]:
        obj = json.loads(cove.kubectl("get", "configmap", "kept", "-o", "json"))
        return obj["metadata"]["uid"], int(obj["metadata"]["resourceVersion"])

    cove("up")
    cove.kubectl("create", "configmap", "kept", "--from-literal=a=1")
    before = seen()
    pid = cove.status()["pid"]

    down = cove.attempt("down")
    left = alive(pid)
    again = cove.attempt("down")
    cove("up")
    after = seen()
    cove.kubectl("label", "configmap", "kept", "a=b")

    assert (down.code, down.err) == (0, "cluster cove is down\n")
    assert not left
    assert (again.code, again.err) == (0, "cluster cove was not running\n")
    assert after == before
    assert seen()[0] == before[0]
    assert seen()[1] > before[1]


@pytest.mark.requires("kubectl")
def test_a_cluster_in_memory_forgets(cove: Cove) -> None:
    cove("up", "--in-memory", "--nodes", "0")
    cove.kubectl("create", "namespace", "gone")
    cove("down")
    cove("up", "--in-memory", "--nodes", "0")

    assert "gone" not in cove.kubectl("get", "namespaces")
    assert not (cove.folder() / "store.db").exists()


def test_sigterm_ends_the_process_cleanly(cove: Cove) -> None:
    cove("up")
    row = cove.status()
    handle = os.pidfd_open(row["pid"])

    os.kill(row["pid"], signal.SIGTERM)
    gone(handle)
    os.close(handle)

    assert cove.status()["state"] == "stopped"
    log = (cove.folder() / "server.log").read_text()
    assert log.rstrip().endswith("cluster cove is stopping")
    assert "Traceback" not in log
    port = int(row["server"].rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_reset_removes_everything(cove: Cove) -> None:
    cove("up", "--nodes", "0")
    pid = cove.status()["pid"]

    done = cove.attempt("reset", "--yes")

    assert (done.code, done.err) == (0, "cluster cove is gone\n")
    assert not cove.folder().exists()
    assert not alive(pid)


def test_reset_does_not_delete_what_nobody_confirmed(cove: Cove) -> None:
    cove("up", "--nodes", "0")

    done = cove.attempt("reset")

    assert done.code == 2
    assert "--yes" in done.err
    assert cove.status()["state"] == "running"


def test_a_crash_leaves_no_stale_lock(cove: Cove) -> None:
    cove("up")
    cove.kill()

    crashed = cove.status()
    up = cove.attempt("up")

    assert crashed["state"] == "stopped"
    assert crashed["pid"] is None
    assert up.code == 0, up.err
    assert cove.status()["state"] == "running"


def test_an_interrupted_up_leaves_nothing_running(cove: Cove) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cove.cli", "up"],
        env=cove.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    # It writes the log's first byte only when started: by then ours waits for it.
    while not (cove.folder() / "server.log").exists():
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert json.loads(cove("status", "-o", "json")) == []


def test_a_process_whose_starter_is_gone_does_not_serve(cove: Cove) -> None:
    """Even where the starter was killed before it could say so."""
    folder = cove.folder()
    folder.mkdir(parents=True)
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "cove.engines.serve", "cove", str(write), "{}"],
        env=cove.environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[write],
    )
    os.close(write)
    _, err = process.communicate(timeout=30)

    assert os.read(read, 100) == b""
    os.close(read)
    assert b"gave up" in err
    assert cove.attempt("status").out == ""


# -- what goes wrong


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["launch"],
        ["up", "--bogus"],
        ["up", "--port", "http"],
        ["up", "--port", "65536"],
        ["up", "--nodes", "-1"],
        ["status", "-o", "xml"],
        ["down", "an-application", "surplus"],
    ],
    ids=lambda a: " ".join(a) or "nothing",
)
def test_wrong_usage_exits_with_2(cove: Cove, arguments: list[str]) -> None:
    done = cove.attempt(*arguments)

    assert done.code == 2
    assert "Usage: cove" in done.err + done.out
    assert not cove.home.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["env", "-n", "nope"], ['there is no cluster "nope"', "start one with `cove up`"]),
        (["down", "-n", "nope"], ['there is no cluster "nope"']),
        (["reset", "-y", "-n", "nope"], ['there is no cluster "nope"']),
        (["status", "-n", "nope"], ['there is no cluster "nope"']),
        (["kubeconfig", "-n", "nope"], ['there is no cluster "nope"']),
        (["up", "-n", "Bad_"], ['"Bad_" is not a cluster name', "lower-case letters"]),
        (["up", "-n", "../x"], ['"../x" is not a cluster name']),
        (["up", "--service-subnet", "ten"], ['--service-subnet "ten"', "10.96.0.0/12"]),
        (["up", "--pod-subnet", "10.0.0.1/8"], ['--pod-subnet "10.0.0.1/8"', "host bits"]),
        (["up", "--disable-admission", "X"], ['no admission plugin "X"', "ServiceAccount"]),
        (["up", "--enable-admission", "X"], ['no admission plugin "X"']),
    ],
    ids=lambda a: " ".join(a),
)
def test_errors_say_what_and_why_and_exit_with_1(
    cove: Cove, arguments: list[str], words: list[str]
) -> None:
    done = cove.attempt(*arguments)

    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err
    assert json.loads(cove("status", "-o", "json")) == []


def test_a_taken_port_is_named(cove: Cove) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cove.attempt("up", "--port", str(port))

    assert done.code == 1
    assert f"port {port} of 127.0.0.1 is in use" in done.err
    assert "--port" in done.err


def test_a_home_that_cannot_be_written_is_named(cove: Cove) -> None:
    done = cove.attempt("up", COVE_HOME="/proc/none")

    assert done.code == 1
    assert "/proc/none/clusters/cove" in done.err
    assert "set COVE_HOME" in done.err


@pytest.mark.parametrize("damage", ["garbage", "foreign", "cut"])
def test_a_corrupt_store_is_refused_and_kept(cove: Cove, damage: str) -> None:
    cove("up", "--nodes", "0")
    cove("down")
    store = cove.folder() / "store.db"
    if damage == "garbage":
        store.write_bytes(b"not a database, but long enough to look at" * 1000)
    elif damage == "foreign":
        import sqlite3

        store.unlink()
        connection = sqlite3.connect(store)
        connection.execute("CREATE TABLE other (a)")
        connection.close()
    else:
        store.write_bytes(store.read_bytes()[:20_000])
    before = store.read_bytes()

    done = cove.attempt("up")

    assert done.code == 1
    assert f"the store {store} cannot be used" in done.err
    assert "move it away" in done.err
    assert store.read_bytes() == before
    assert cove.status()["state"] == "stopped"


def test_a_store_whose_making_was_interrupted_is_made_again(cove: Cove) -> None:
    cove.folder().mkdir(parents=True)
    (cove.folder() / "store.db").touch()

    up = cove.attempt("up", "--nodes", "0")

    assert up.code == 0, up.err


def test_settings_that_cannot_be_read_are_named(cove: Cove) -> None:
    cove("up", "--nodes", "0")
    cove("down")
    (cove.folder() / "cluster.json").write_text("{")

    done = cove.attempt("up")

    assert done.code == 1
    assert f"{cove.folder() / 'cluster.json'} cannot be read" in done.err


# -- files


@pytest.mark.requires("kubectl")
def test_files_are_for_their_owner_alone(cove: Cove) -> None:
    cove("up", "--nodes", "0")
    cove.kubectl("create", "serviceaccount", "robot")
    cove.kubectl("create", "token", "robot")

    modes = {p.name: p.stat().st_mode & 0o777 for p in cove.folder().iterdir()}

    assert cove.folder().stat().st_mode & 0o777 == 0o700
    assert {"kubeconfig", "ca.key", "sa.key", "store.db", "server.log"} <= modes.keys()
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o600} == {}


OTHERS = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "work",
    "clusters": [{"name": "work", "cluster": {"server": "https://example.test"}}],
    "users": [{"name": "work", "user": {"token": "t"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "work"}}],
    "preferences": {"colors": True},
}


@pytest.mark.requires("kubectl")
def test_a_users_kubeconfig_is_merged_into_and_given_back(cove: Cove, tmp_path: Path) -> None:
    target = tmp_path / "config"
    target.write_text(yaml.safe_dump(OTHERS))

    up = cove.attempt("up", "--nodes", "0", "--merge-kubeconfig", KUBECONFIG=str(target))
    merged = yaml.safe_load(target.read_text())
    worked = cove.kubectl("--kubeconfig", str(target), "get", "namespace", "default")
    down = cove.attempt("down", KUBECONFIG=str(target))
    after = yaml.safe_load(target.read_text())

    assert f"context cove is the current one in {target}" in up.err
    assert merged["current-context"] == "cove"
    assert [c["name"] for c in merged["contexts"]] == ["work", "cove"]
    assert merged["clusters"][0] == OTHERS["clusters"][0]  # type: ignore[index]
    assert "default" in worked
    assert f"context cove is gone from {target}" in down.err
    assert after == OTHERS
    assert target.stat().st_mode & 0o777 == 0o600


def test_down_leaves_a_context_of_the_same_name_that_is_not_ours(
    cove: Cove, tmp_path: Path
) -> None:
    target = tmp_path / "config"
    text = yaml.safe_dump(OTHERS).replace("work", "cove")
    target.write_text(text)
    cove("up", "--nodes", "0", KUBECONFIG=str(target))

    cove("down", KUBECONFIG=str(target))

    assert target.read_text() == text


@pytest.mark.parametrize("text", ["[", "- a\n", "clusters: 5\n"], ids=["yaml", "list", "shape"])
def test_a_kubeconfig_that_is_none_is_not_merged_into(
    cove: Cove, tmp_path: Path, text: str
) -> None:
    target = tmp_path / "config"
    target.write_text(text)

    done = cove.attempt("up", "--nodes", "0", "--merge-kubeconfig", KUBECONFIG=str(target))

    assert done.code == 1
    assert f"{target} cannot be merged into" in done.err
    assert "Traceback" not in done.err
    assert target.read_text() == text


def test_the_users_kubeconfig_is_left_alone_unless_asked(cove: Cove) -> None:
    cove("up", "--nodes", "0")
    cove("down")

    assert not (cove.home.parent / "user").exists()


def test_importing_cove_loads_nothing_heavy() -> None:
    code = "import sys, cove; print([m for m in ('aiohttp', 'yaml', 'typer') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr
