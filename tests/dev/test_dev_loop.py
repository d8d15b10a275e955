"""The loop with real pods: what is built, copied, rolled and told, and what goes wrong."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest
from aiohttp import web
from dev_world import Project, Running, running

from cove.dev.commands import sync
from cove.dev.errors import DeployError, PushError
from cove.dev.session import Options

pytestmark = pytest.mark.requires("docker", "registry")
SYNC = [("src/**", "/www")]


async def test_a_change_is_built_pushed_rolled_and_served(project: Project) -> None:
    async with running(project.plan(), logs=True) as world:
        await world.good()
        assert await world.get() == "one"
        project.write("src/index.html", "two")
        await world.good()
        assert await world.get() == "two"
        (pod,) = [p for p in await world.pods() if not p["metadata"].get("deletionTimestamp")]
        image = pod["spec"]["containers"][0]["image"]
        registry = world.session.registry
        assert registry is not None
        assert image.startswith(f"{registry.pods}/{project.name}/web@sha256:")


async def test_a_synced_file_is_served_without_a_build(project: Project) -> None:
    async with running(project.plan(sync=SYNC)) as world:
        await world.good()
        (before,) = await world.pods()
        project.write("src/index.html", "two")
        project.write("src/deep/er/new.txt", "new")
        await world.until(lambda: any("synced in" in line for line in world.said))
        assert await world.get() == "two"
        while await world.get("/deep/er/new.txt") != "new":
            await world.round()
        (after,) = await world.pods()
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert not any("building" in line for line in world.said if "index" in line)


async def test_a_deleted_folder_goes_in_the_container_as_well(project: Project) -> None:
    project.write("src/old/a.txt", "a")
    project.write("src/old/b.txt", "b")
    async with running(project.plan(sync=SYNC)) as world:
        await world.good()
        assert await world.get("/old/a.txt") == "a"
        shutil.rmtree(project.root / "src/old")
        while await world.get("/old/a.txt") == "a" or await world.get("/old/b.txt") == "b":
            await world.good()
        assert await world.get() == "one"


async def test_two_thousand_files_at_once_are_copied_and_nothing_is_lost(project: Project) -> None:
    async with running(project.plan(sync=SYNC)) as world:
        await world.good()
        folder = project.root / "src/many"
        folder.mkdir()
        for number in range(2000):
            (folder / f"file-{number}.txt").write_text(str(number))
        while await world.exec("sh", "-c", "ls /www/many 2>/dev/null | grep -c txt") != "2000":
            await world.good()
        for file in folder.iterdir():
            file.unlink()
        while await world.exec("sh", "-c", "ls /www/many 2>/dev/null | grep -c txt") != "0":
            await world.good()


async def test_what_was_copied_is_replayed_into_a_pod_that_takes_its_place(
    project: Project,
) -> None:
    async with running(project.plan(sync=SYNC)) as world:
        await world.good()
        project.write("src/index.html", "two")
        await world.good()
        await delete_pod(world)
        await world.says("replayed into")
        assert await world.get() == "two"


async def delete_pod(world: Running) -> None:
    from cove.host.rollout import PODS

    for pod in await world.pods():
        await world.session.client.delete(PODS, pod["metadata"]["name"], "default", grace=0)


async def test_a_container_that_is_replaced_while_files_are_copied_gets_them_all(
    project: Project,
) -> None:
    async with running(project.plan(sync=SYNC)) as world:
        await world.good()
        for number in range(300):
            project.write(f"src/many/{number}.txt", "x" * 20_000)
        await world.moment(0.05)
        await delete_pod(world)

        async def complete() -> bool:
            pods = [p for p in await world.pods() if not p["metadata"].get("deletionTimestamp")]
            if len(pods) != 1 or not pods[0]["status"].get("containerStatuses", [{}])[0].get(
                "ready"
            ):
                return False
            count = await world.exec("sh", "-c", "ls /www/many 2>/dev/null | grep -c txt")
            return count == "300"

        async with asyncio.timeout(60):
            while not await complete():
                await world.moment(0.2)


async def test_a_build_error_shows_its_last_lines_and_the_old_version_runs_on(
    project: Project,
) -> None:
    async with running(project.plan()) as world:
        await world.good()
        project.write("src/index.html", "two")
        project.write("Dockerfile", "FROM cove.dev/dev-busybox:1\nRUN echo reason-of-it; false\n")
        assert "could not be had; web runs on as it is" in await world.round()
        told = "\n".join(world.said)
        assert "web could not be built" in told
        assert "non-zero code: 1" in told
        assert "cove:   reason-of-it" in told
        assert await world.get() == "one"
        project.write(
            "Dockerfile",
            "FROM cove.dev/dev-busybox:1\nCOPY src /www\n"
            'CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]\n',
        )
        await world.good()
        assert await world.get() == "two"


async def test_a_pod_that_crashes_is_told_with_its_last_words_and_a_change_mends_it(
    project: Project,
) -> None:
    good = (project.root / "Dockerfile").read_text()
    async with running(project.plan()) as world:
        await world.good()
        project.write("Dockerfile", good + 'CMD ["sh", "-c", "echo no database; exit 3"]\n')
        how = await world.round()
        assert f"deployment/{project.name} is not ready" in how
        assert "CrashLoopBackOff" in how
        assert "no database" in how
        assert await world.get() == "one"  # what ran before runs on
        project.write("Dockerfile", good)
        await world.good()


async def test_a_crash_after_a_sync_means_a_build(project: Project) -> None:
    project.write(
        "Dockerfile",
        "FROM cove.dev/dev-busybox:1\nCOPY src /www\n"
        'CMD ["sh", "-c", "httpd -p 8080 -h /www; while [ ! -e /www/crash ]; do sleep 0.1; done; '
        'exit 4"]\n',
    )
    async with running(project.plan(sync=SYNC)) as world:
        await world.good()
        project.write("src/crash", "")
        await world.says("a container with synced files has crashed")
        (project.root / "src/crash").unlink()
        await world.until(lambda: any("web built, ready" in line for line in world.said))
        assert await world.get() == "one"


async def test_a_container_without_a_shell_is_built_anew_and_told_why(project: Project) -> None:
    project.write(
        "Dockerfile",
        "FROM scratch\nCOPY --from=cove.dev/dev-busybox:1 /bin/busybox /bin/busybox\n"
        'COPY src /www\nCMD ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]\n',
    )
    async with running(project.plan(sync=SYNC)) as world:
        await world.good()
        project.write("src/index.html", "two")
        await world.good()
        told = [line for line in world.said if "built instead" in line]
        assert any("has no sh" in line for line in told), "\n".join(world.said[-20:])
        assert await world.get() == "two"


async def test_files_that_cannot_be_written_there_mean_a_build(project: Project) -> None:
    project.write(
        "Dockerfile",
        "FROM cove.dev/dev-busybox:1\nCOPY src /www\nRUN chmod -R 555 /www\n"
        'USER 1000\nCMD ["httpd", "-f", "-p", "8080", "-h", "/www"]\n',
    )
    async with running(project.plan(sync=SYNC)) as world:
        await world.good()
        project.write("src/index.html", "two")
        await world.good()
        assert any("ermission denied" in line and "built instead" in line for line in world.said)
        assert await world.get() == "two"


async def test_commands_run_after_a_sync_of_their_files_alone(project: Project) -> None:
    after = [("echo ran > /www/ran.txt", "src/*.cfg")]
    async with running(project.plan(sync=SYNC, run_after_sync=after)) as world:
        await world.good()
        project.write("src/index.html", "two")
        await world.good()
        assert await world.get("/ran.txt") == "none"
        project.write("src/app.cfg", "x")
        await world.good()
        assert await world.get("/ran.txt") == "ran"


async def test_symlink_loops_do_no_harm(project: Project) -> None:
    os.symlink(".", project.root / "src/loop")
    os.symlink("nowhere", project.root / "src/broken")
    async with running(project.plan(sync=SYNC)) as world:
        await world.good()
        project.write("src/index.html", "two")
        await world.until(lambda: any("synced in" in line for line in world.said))
        assert await world.get() == "two"


async def test_a_manifest_that_changes_is_deployed_and_what_left_it_goes(project: Project) -> None:
    from cove.kube.gvk import GVR
    from cove.kube.status import StatusError

    maps = GVR("", "v1", "configmaps")
    text = (project.root / "k8s.yaml").read_text()
    more = f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {project.name}}}\n"
    project.write("k8s.yaml", text + more)
    async with running(project.plan()) as world:
        await world.good()
        assert await world.session.client.get(maps, project.name, "default")
        project.write("k8s.yaml", text)
        await world.good()
        with pytest.raises(StatusError):
            await world.session.client.get(maps, project.name, "default")


async def test_logs_are_those_of_the_pods_that_were_rolled_and_follow_replacements(
    project: Project,
) -> None:
    project.write(
        "Dockerfile",
        "FROM cove.dev/dev-busybox:1\nCOPY src /www\n"
        'CMD ["sh", "-c", "echo I am $(cat /www/index.html); httpd -f -p 8080 -h /www"]\n',
    )
    async with running(project.plan(), logs=True) as world:
        await world.good()
        await world.until(lambda: any("I am one" in line for line in world.logs))
        project.write("src/index.html", "two")
        await world.until(lambda: any("I am two" in line for line in world.logs))
        names = {line.partition("/")[0] for line in world.logs}
        assert len(names) == 2
        assert all(name.startswith(f"{project.name}-") for name in names)


async def test_a_build_that_the_registry_has_is_skipped(project: Project) -> None:
    said: list[str] = []

    def say(name: str, text: str) -> None:
        said.append(text)

    (first,) = await sync(project.plan(), Options(), names=(), say=say)
    (again,) = await sync(project.plan(), Options(), names=(), say=say)
    assert (first["how"], again["how"]) == ("built", "there")
    assert first["reference"] == again["reference"]
    assert sum("building" in text for text in said) == 1
    project.write("src/index.html", "two")
    (other,) = await sync(project.plan(), Options(), names=(), say=say)
    assert other["reference"] != first["reference"]


@pytest.mark.parametrize("kit", ["0", "1"], ids=["classic", "buildkit"])
async def test_either_builder_builds_and_says_which_it_is(
    project: Project, monkeypatch: pytest.MonkeyPatch, kit: str
) -> None:
    monkeypatch.setenv("DOCKER_BUILDKIT", kit)
    said: list[str] = []
    project.write("src/index.html", f"of {kit}")
    plan = project.plan(args={"TEXT": "x"})
    (made,) = await sync(plan, Options(), names=(), say=lambda name, text: said.append(text))
    assert made["digest"].startswith("sha256:")
    assert f"({'buildkit' if kit == '1' else 'classic'})" in "".join(said)
    assert any("COPY src /www" in text for text in said)


async def test_buildkits_errors_come_with_their_last_lines(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_BUILDKIT", "1")
    project.write("Dockerfile", "FROM cove.dev/dev-busybox:1\nRUN echo reason-of-it; false\n")
    with pytest.raises(DeployError, match=r"(?s)web could not be built: .*reason-of-it"):
        await sync(project.plan(), Options(), names=(), say=lambda name, text: None)


async def test_images_are_built_on_each_other_by_argument(project: Project) -> None:
    from dev_world import shared

    from cove import App
    from cove.dev.declared import plan_of

    project.write("base/Dockerfile", "FROM cove.dev/dev-busybox:1\nRUN echo base > /www/base\n")
    project.write("top/Dockerfile", "ARG BASE\nFROM $BASE\nRUN grep base /www/base\n")
    app = App(project.name, root=project.root)
    app.cluster("k8s")
    base = app.image("base", "base")
    app.image("top", "top", requires=[base])
    first = await sync(shared(plan_of(app)), Options(), names=["top"], say=lambda name, text: None)
    assert [row["name"] for row in first] == ["base", "top"]
    project.write("base/Dockerfile", "FROM cove.dev/dev-busybox:1\nRUN echo base2 > /www/base\n")
    again = await sync(shared(plan_of(app)), Options(), names=["top"], say=lambda name, text: None)
    assert [row["how"] for row in again] == ["built", "built"]


async def test_a_registry_that_is_down_is_named(project: Project) -> None:
    options = Options(registry="localhost:1/none")
    with pytest.raises(DeployError, match=r"registry localhost:1 does not answer .*cove dev up"):
        await sync(project.plan(), options, names=(), say=lambda name, text: None)


async def test_a_push_that_is_refused_says_by_whom_why_and_what_to_do(project: Project) -> None:
    async def refuse(request: web.Request) -> web.Response:
        if request.method == "HEAD":
            return web.Response(status=404)
        if request.path == "/v2/":
            return web.Response(headers={"Docker-Distribution-Api-Version": "registry/2.0"})
        return web.json_response(
            {"errors": [{"code": "DENIED", "message": "requested access is denied"}]}, status=403
        )

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", refuse)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        options = Options(registry=f"localhost:{port}")
        with pytest.raises(DeployError) as failed:
            await sync(project.plan(), options, names=(), say=lambda name, text: None)
        told = str(failed.value)
        assert f"the registry localhost:{port} (--registry) refused it: " in told
        assert "denied" in told
        assert f"`docker login localhost:{port}`" in told
    finally:
        await runner.cleanup()


async def test_a_push_that_failed_is_tried_again_by_itself(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cove.dev import loop

    monkeypatch.setattr(loop, "AGAIN", 0.1)
    async with running(project.plan()) as world:
        await world.good()
        push = world.session.builder._push
        tries: list[str] = []

        async def flaky(name: str, repository: str, tag: str) -> str:
            tries.append(tag)
            if len(tries) == 1:
                raise PushError("the registry is away for a moment")
            return await push(name, repository, tag)

        monkeypatch.setattr(world.session.builder, "_push", flaky)
        project.write("src/index.html", "two")
        assert "web runs on as it is" in await world.round()
        await world.good()
        assert await world.get() == "two"


async def test_what_changes_while_a_round_runs_is_the_next_rounds(project: Project) -> None:
    async with running(project.plan()) as world:
        await world.good()
        project.write("src/index.html", "two")
        await world.says("building")
        count = sum("building" in line for line in world.said)
        project.write("src/index.html", "three")
        await world.until(lambda: sum("building" in line for line in world.said) > count)
        while await world.get() != "three":
            await world.round()


async def test_a_file_that_cannot_be_read_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    real = builtins.open

    def refuse(file: object, *args: object, **more: object) -> object:
        if str(file).endswith("secret.txt"):
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, *args, **more)  # type: ignore[call-overload]

    project.write("src/secret.txt", "x")
    monkeypatch.setattr(builtins, "open", refuse)  # root reads everything
    with pytest.raises(DeployError, match=r"secret\.txt cannot be read: permission denied; let it"):
        await sync(project.plan(), Options(), names=(), say=lambda name, text: None)
