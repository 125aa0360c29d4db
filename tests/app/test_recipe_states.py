"""Recipes over HTTP in any order: made, changed, ended, activated, judged by; held against a simple model."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from starlette.testclient import TestClient

NAMES = st.sampled_from(["a", "b", "c"])
TAGS = st.sampled_from(["none", "right", "wrong", "any"])
RUNS = itertools.count()


def machine(client: TestClient, picture: bytes) -> type[RuleBasedStateMachine]:
    """A machine that asks this service; each run has names of its own, so that no run sees another's."""

    class Recipes(RuleBasedStateMachine):
        """`texts` has every version of a recipe, None where it was deleted."""

        @initialize()
        def begin(self) -> None:
            self.prefix = f"run-{next(RUNS)}-"
            self.texts: dict[str, list[str | None]] = {}
            self.default: str | None = None
            self.camera: str | None = None
            assert client.put("/v1/activations", json={}).status_code == 200

        def version(self, name: str) -> int:
            """The version in force, 0 where there is none."""
            texts = self.texts.get(name, [])
            return len(texts) if texts and texts[-1] is not None else 0

        def asked(self, method: str, name: str, tag: str, **body: Any) -> Any:
            there = self.version(name)
            value = {"right": f'"{there}"', "wrong": f'"{there + 7}"', "any": "*"}.get(tag)
            headers = {"Content-Type": "application/yaml"} | ({"If-Match": value} if value else {})
            return client.request(method, f"/v1/recipes/{self.prefix}{name}", headers=headers, **body)

        def is_stale(self, name: str, tag: str) -> bool:
            return tag == "wrong" or (tag == "any" and not self.version(name))

        @rule(name=NAMES, count=st.integers(0, 1), tag=TAGS)
        def put(self, name: str, count: int, tag: str) -> None:
            text = f"name: {self.prefix}{name}\nother: {{max_count: {count}}}\n"
            response = self.asked("PUT", name, tag, content=text)
            if self.is_stale(name, tag):
                assert (response.status_code, response.json()["code"]) == (412, "version_stale")
                return
            texts = self.texts.setdefault(name, [])
            if not texts or texts[-1] != text:
                texts.append(text)
            assert (response.status_code, response.json()["version"]) == (200, len(texts))
            assert response.headers["ETag"] == f'"{len(texts)}"'

        @rule(name=NAMES, tag=TAGS)
        def delete(self, name: str, tag: str) -> None:
            response = self.asked("DELETE", name, tag)
            if not self.version(name):
                assert (response.status_code, response.json()["code"]) == (404, "recipe_not_found")
            elif self.is_stale(name, tag):
                assert (response.status_code, response.json()["code"]) == (412, "version_stale")
            elif name in (self.default, self.camera):
                assert (response.status_code, response.json()["code"]) == (409, "recipe_in_use")
            else:
                self.texts[name].append(None)
                assert (response.status_code, response.json()["version"]) == (200, len(self.texts[name]))

        @rule(name=NAMES)
        def read(self, name: str) -> None:
            response = client.get(f"/v1/recipes/{self.prefix}{name}")
            if self.version(name):
                assert response.json()["text"] == self.texts[name][-1]
            else:
                assert (response.status_code, response.json()["code"]) == (404, "recipe_not_found")

        @rule(name=NAMES, data=st.data())
        def read_earlier(self, name: str, data: st.DataObject) -> None:
            texts = self.texts.get(name, [])
            number = data.draw(st.integers(1, len(texts) + 1))
            response = client.get(f"/v1/recipes/{self.prefix}{name}?version={number}")
            text = texts[number - 1] if number <= len(texts) else None
            assert response.status_code == (404 if text is None else 200)
            assert response.json().get("text") == text

        @rule(default=st.none() | NAMES, camera=st.none() | NAMES)
        def activate(self, default: str | None, camera: str | None) -> None:
            named = {key: self.prefix + key for key in (default, camera) if key is not None}
            wanted = {
                "default": None if default is None else named[default],
                "cameras": {} if camera is None else {"top": named[camera]},
            }
            response = client.put("/v1/activations", json=wanted)
            if all(self.version(name) for name in named):
                assert response.status_code == 200
                self.default, self.camera = default, camera
            else:
                assert (response.status_code, response.json()["code"]) == (422, "recipe_unknown")

        @rule(by_camera=st.booleans())
        def judge(self, by_camera: bool) -> None:
            fields = {"camera_id": "top"} if by_camera else {}
            answer = client.post("/v1/inspections?mask=none", files={"image": picture}, data=fields).json()
            chosen = (self.camera if by_camera else None) or self.default
            expected = ("tiny", 1) if chosen is None else (self.prefix + chosen, self.version(chosen))
            assert (answer["recipe"], answer["recipe_version"]) == expected

        @invariant()
        def the_list_is_what_is_there(self) -> None:
            listed = client.get("/v1/recipes").json()["recipes"]
            own = {each["name"]: each["version"] for each in listed if each["name"].startswith(self.prefix)}
            there = {self.prefix + name: self.version(name) for name in self.texts if self.version(name)}
            assert own == there

    return Recipes


def test_recipes_do_as_the_model_does_in_any_order(
    make_client: Callable[..., TestClient], tmp_path: Path, clean: bytes
) -> None:
    client = make_client(recipes_dir=tmp_path)
    run_state_machine_as_test(
        machine(client, clean),
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
