"""Many models in a container with little memory: refused before the kernel would have to."""

import shutil
import time
from contextlib import contextmanager

import pytest
import requests

from tests import make

MEMORY = "400m"
"""For the server and a few small models, not for all that there are."""
NAMES = [f"model-{number:02d}" for number in range(20)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """As the platform unpacks them; readable by any user."""
    folder = tmp_path_factory.mktemp("many")
    made = make.compiled_artifact(folder / "made")
    for name in NAMES:
        shutil.copytree(made, folder / "models" / name / "model")
    for path in [folder, *folder.parents[:2], *folder.rglob("*")]:
        path.chmod(0o755)
    return folder / "models"


@contextmanager
def serving(docker, image, models):
    """URL and name of a container whose /ping is green."""
    started = docker(
        "run", "--detach", "--publish=127.0.0.1::8080", f"--volume={models}:/opt/ml/models:ro",
        "--env=SAGEMAKER_MULTI_MODEL=true", f"--memory={MEMORY}", f"--memory-swap={MEMORY}",
        "--read-only", "--tmpfs=/tmp", image, "serve", check=True,
    )  # fmt: skip
    container = started.stdout.strip()
    try:
        url = "http://" + docker("port", container, "8080/tcp", check=True).stdout.split()[0]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{url}/ping", timeout=2).status_code == 200:
                    break
            except requests.RequestException:
                time.sleep(0.1)
        else:
            pytest.fail(docker("logs", container).stderr)
        yield url, container
    finally:
        docker("rm", "--force", container)


@pytest.mark.parametrize("which", ["image", "slim"])
def test_models_are_loaded_up_to_the_containers_memory_and_none_is_killed(
    docker, which, models, request
):
    image = request.getfixturevalue(which)

    def load(name):
        order = {"model_name": name, "url": f"/opt/ml/models/{name}/model"}
        return requests.post(f"{url}/models", json=order, timeout=60)

    def asked(name):
        photo = {"data": make.photo(), "headers": {"Content-Type": "image/jpeg"}}
        return requests.post(f"{url}/models/{name}/invoke", timeout=60, **photo).status_code

    with serving(docker, image, models) as (url, container):
        loaded = []
        for name in NAMES:
            answer = load(name)
            if answer.status_code != 200:
                break
            loaded.append(name)
        answers = [asked(each) for each in loaded]
        for each in answer.json()["could_go"]:
            requests.delete(f"{url}/models/{each['modelName']}", timeout=60)
        then = load(name)
        events = docker("exec", container, "cat", "/sys/fs/cgroup/memory.events").stdout
        log = docker("logs", container).stderr

    assert answer.status_code == 507, answer.text
    assert 2 <= len(loaded) < len(NAMES)
    assert answers == [200] * len(loaded)
    assert then.status_code == 200, then.text
    assert "oom_kill 0" in events or not events
    assert "SIGKILL" not in log
