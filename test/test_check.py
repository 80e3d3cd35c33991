"""medvial check on tiny archives: a good one passes every gate, each defect fails its own."""

import gzip
import importlib.util
import json
import subprocess
import sys
import tarfile
import textwrap
import types

import pytest
from archives import APP, BASE, MANIFEST, METHOD, digest, tar, write_image, write_model

from medvial.errors import InputError
from medvial_rehearsal.archive import image_gates, layer, stream
from medvial_rehearsal.archive import tar as tar_module
from medvial_rehearsal.archive.image_gates import ImageContext, check_image
from medvial_rehearsal.archive.ledger import read_ledger
from medvial_rehearsal.archive.model_gates import ModelContext, check_model
from medvial_rehearsal.check import check
from medvial_rehearsal.gates import Status

KEY = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"MIIEowIBAAKCAQEA" * 4 + b"\n"
NAMES = [f"A{number}" for number in range(1, 13)]


def outcomes_of(path, ledger=None):
    """Every gate's outcome by name."""
    context = ImageContext(path, ledger or path.with_name("ledger.json"))
    return {outcome.gate: outcome for outcome in check_image(context)}


def bad(outcomes):
    return {n: o.status for n, o in outcomes.items() if o.status is not Status.PASSED}


def expect(path, gate, *texts, status=Status.FAILED):
    """Only this gate stops, with these words; after a failure of A1 to A3 the others do not run."""
    outcomes = outcomes_of(path)
    assert [n for n, s in bad(outcomes).items() if s is not Status.NOT_RUN] == [gate]
    assert outcomes[gate].status is status
    story = f"{outcomes[gate].found} | {outcomes[gate].mend}"
    for text in texts:
        assert text in story
    ran_all = gate not in NAMES[:3]
    assert (Status.NOT_RUN not in bad(outcomes).values()) == ran_all


def image(tmp_path, app=None, base=None, *more, **changes):
    """A good image with files added to its layers."""
    layers = ({**BASE, **(base or {})}, {**APP, **(app or {})}, *more)
    return write_image(tmp_path / "x.tar.gz", *layers, **changes)


@pytest.mark.parametrize("form", ["old", "new"])
@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.xz"])
def test_a_good_image_passes_every_gate(tmp_path, form, ending):
    path = write_image(tmp_path / f"x{ending}", form=form)
    outcomes = outcomes_of(path)
    assert list(outcomes) == NAMES
    assert not bad(outcomes)
    assert digest(path.read_bytes()) in outcomes["A1"].found
    assert outcomes["A5"].found == "algorithm (1000:1000), home /home/algorithm"
    assert outcomes["A7"].found == "python process.py in /opt/app"


def test_layers_may_be_compressed_and_shared_by_links(tmp_path):
    def packed(layer):
        return gzip.compress(tar(layer), mtime=0)

    assert not bad(outcomes_of(write_image(tmp_path / "x.tar.gz", form="new", pack=packed)))
    name = f"{digest(tar(APP))}/layer.tar"
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, "../other/layer.tar"
    outer = {name: link, "other/layer.tar": tar(APP)}
    assert not bad(outcomes_of(write_image(tmp_path / "y.tar.gz", outer=outer)))


def test_failure_01_runs_as_root(tmp_path):
    for user in (None, "", "root", "0", "0:0", "root:1000", "00"):
        expect_two = outcomes_of(image(tmp_path, User=user))
        assert bad(expect_two) == {"A5": Status.FAILED, "A7": Status.FAILED}
        assert "the platform refuses root" in expect_two["A5"].found
        assert "USER 1000:1000" in expect_two["A5"].mend


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("toor", "USER toor has the id 0: that is root"),
        ("1234", "USER 1234 is not in the image's /etc/passwd: it has no home"),
        ("nobody", "USER nobody is not in"),
        ("algorithm:unknown", "the group unknown is not in the image's /etc/group"),
        ("a b", "neither a name nor a number"),
    ],
)
def test_a_user_that_does_not_resolve_is_refused(tmp_path, user, text):
    outcomes = outcomes_of(image(tmp_path, User=user))
    assert outcomes["A5"].status is Status.FAILED
    assert text in outcomes["A5"].found


@pytest.mark.parametrize("user", ["algorithm", "1000", "algorithm:video", "1000:65534"])
def test_users_that_the_platform_takes(tmp_path, user):
    assert not bad(outcomes_of(image(tmp_path, User=user)))


def test_a_user_without_a_home_is_told(tmp_path):
    expect(image(tmp_path, User="ghost"), "A5", "/home/ghost, is not in the image", "--create-home")


def test_failure_03_weights_and_caches_in_the_image(tmp_path):
    big = b"\1" * (image_gates.WEIGHTS_BYTES + 1)
    for path in ("opt/app/model.pth", "opt/w/x.safetensors", "root/.cache/torch/hub/resnet"):
        expect(image(tmp_path, {path: big}), "A8", f"/{path} (1.0 MB)", "model tarball")
    declared = json.dumps(MANIFEST | {"weights": ["/opt/w/x.onnx"]}).encode()
    files = {"opt/w/x.onnx": big, "opt/app/medvial.json": declared, "opt/w/small.pth": b"x"}
    assert not bad(outcomes_of(image(tmp_path, files)))


@pytest.mark.parametrize("weights", [5, "/opt/w/x.onnx", None, {"/opt/w/x.onnx": 1}])
def test_weights_are_declared_as_a_list(tmp_path, weights):
    declared = json.dumps(MANIFEST | {"weights": weights}).encode()
    files = {"opt/w/x.onnx": b"\1" * 2_000_000, "opt/app/medvial.json": declared}
    expect(image(tmp_path, files), "A8", "no list of paths", '"weights": [')


def test_failure_03_code_that_downloads_is_a_warning(tmp_path):
    code = b"import torch\nnet = torch.hub.load('a', 'b')\n"
    path = image(tmp_path, {"opt/app/net.py": code})
    expect(path, "A8", "/opt/app/net.py:2: torch.hub.load(", "network", status=Status.WARNING)
    assert not bad(outcomes_of(image(tmp_path, {"opt/venv/site-packages/net.py": code})))


def test_failure_12_files_in_tmp(tmp_path):
    for path in ("tmp/weights.bin", "input/case.mha", "output/x", "opt/ml/model/model.onnx"):
        expect(image(tmp_path, {path: b"x"}), "A8", f"/{path}", "not there when the program runs")


def test_what_a_later_layer_removes_is_not_there(tmp_path):
    for whiteout in ("tmp/.wh.x", "tmp/.wh..wh..opq", ".wh.tmp"):
        assert not bad(outcomes_of(image(tmp_path, {whiteout: b""}, {"tmp/x": b"1"})))


COMMANDS = [
    ({"Entrypoint": ["/bin/sh", "-c", "python process.py"]}, "shell form", "Write the exec form"),
    ({"Entrypoint": None, "Cmd": ["bash", "-c", "x"]}, "shell form", "exec form"),
    ({"Entrypoint": "python process.py"}, "ENTRYPOINT is 'python process.py', not a list", ""),
    ({"Entrypoint": None}, "neither ENTRYPOINT nor CMD", ""),
    ({"WorkingDir": "/home"}, "there is no /home/process.py", "Set WORKDIR"),
    ({"WorkingDir": None}, "there is no /process.py", "Set WORKDIR"),
    (
        {"Entrypoint": ["pyton", "process.py"]},
        "there is no pyton at /opt/venv/bin/pyton or ",
        "PATH",
    ),
    ({"Entrypoint": ["./process.py"]}, "cannot execute /opt/app/process.py", "chmod a+rx"),
    ({"Entrypoint": ["/home/algorithm"]}, "there is no /home/algorithm", ""),
]


@pytest.mark.parametrize(("changes", "found", "mend"), COMMANDS)
def test_failure_13_command_that_cannot_run(tmp_path, changes, found, mend):
    expect(image(tmp_path, **changes), "A7", found, mend)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"run": b"#!/bin/python3\n"}, "algorithm cannot execute /opt/app/run"),
        ({"run": (0o755, b"#!/bin/python3\r\n")}, "Windows line ends"),
        ({"run": (0o755, b"#!/bin/perl\n")}, "/opt/app/run wants '/bin/perl', which is not"),
        ({"run": "loop", "loop": "run"}, "there is no ./run"),
        ({"run": "/nowhere"}, "there is no ./run"),
    ],
)
def test_failure_13_program_that_cannot_run(tmp_path, files, found):
    files = {f"opt/app/{name}": content for name, content in files.items()}
    expect(image(tmp_path, files, Entrypoint=["./run"]), "A7", found)


def test_a_script_in_exec_form_passes(tmp_path):
    files = {"opt/app/run": (0o755, b"#!/bin/python3\n")}
    assert not bad(outcomes_of(image(tmp_path, files, Entrypoint=["./run"])))


@pytest.mark.parametrize(
    "words",
    [
        *(["-m", "x"], ["-um", "x"], ["-mx"], ["-c", "x"], ["-Bc", "x"]),
        *(["-u", "process.py"], ["-X", "utf8", "process.py"], ["-Xutf8", "process.py"]),
        *(["-W", "ignore", "process.py"], ["-Wignore:c", "process.py"], ["-uW", "m", "process.py"]),
        ["--check-hash-based-pycs", "never", "process.py"],
    ],
)
def test_options_of_python_are_not_its_script(tmp_path, words):
    path = image(tmp_path, Entrypoint=None, Cmd=["/usr/bin/python3", *words])
    assert not bad(outcomes_of(path))
    words = [word.replace("process.py", "missing.py") for word in words]
    if "missing.py" in words:
        expect(image(tmp_path, Entrypoint=["python", *words]), "A7", "no /opt/app/missing.py")


def test_failure_02_files_that_the_user_cannot_read(tmp_path):
    unreadable = {"opt/app/process.py": (0o600, b"x")}
    expect(image(tmp_path, unreadable), "A7", "cannot read /opt/app/process.py", "chmod -R a+rX")
    expect(image(tmp_path, {"opt/app/": (0o750, 7)}), "A7", "/opt/app has mode 750 and is 7:7's")


def test_failure_14_another_architecture(tmp_path):
    expect(image(tmp_path, architecture="arm64"), "A4", "built for linux/arm64", "linux/amd64")
    expect(image(tmp_path, os="windows"), "A4", "windows/amd64")


def test_failure_15_two_images(tmp_path):
    expect(image(tmp_path, images=2), "A2", "2 images: medvial-x:latest", "docker save NAME:TAG")
    expect(image(tmp_path, images=0), "A2", "0 images")


def test_failure_15_uploaded_before(tmp_path):
    path, ledger = image(tmp_path), tmp_path / "sub" / "ledger.json"
    assert outcomes_of(path, ledger)["A11"].found == "new"
    assert check(path, ledger=ledger, record=True) == 0
    assert "first exported on 20" in outcomes_of(path, ledger)["A11"].found
    assert check(path, ledger=ledger, uploaded=True) == 0
    assert check(path, ledger=ledger, record=True) == 1
    outcome = outcomes_of(path, ledger)["A11"]
    assert outcome.status is Status.FAILED
    assert "was uploaded on 20" in outcome.found
    assert "refuses it a second time" in outcome.mend
    other = write_image(tmp_path / "other.tar.gz", {**BASE, "new": b""}, APP)
    assert check(other, ledger=ledger, record=True) == 0
    (first, second) = json.loads(ledger.read_text())["exports"]
    assert first["uploaded"]
    assert second["uploaded"] is None
    assert second["revision"] == "abc1234"


def test_exports_at_the_same_time_are_all_written_down(tmp_path):
    program = """
        import sys
        from pathlib import Path
        from medvial_rehearsal.archive.ledger import Export, record

        for number in range(50):
            name = f"{sys.argv[2]}-{number}"
            record(Path(sys.argv[1]), Export(name, "t", "a", "s", "t", "r", "2026"))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "sub" / "l.json")]
    running = [subprocess.Popen([*command, name]) for name in "abcd"]
    assert [process.wait(timeout=60) for process in running] == [0] * 4
    assert len(read_ledger(tmp_path / "sub" / "l.json")) == 200


def test_a_broken_ledger_is_told(tmp_path):
    (tmp_path / "ledger.json").write_text('{"exports": [{"x": 1}]}')
    expect(image(tmp_path), "A11", "Expected a ledger of exports")


def test_failure_19_label(tmp_path):
    expect(image(tmp_path, Labels={METHOD: "http"}), "A6", "is 'http'", "--invoke")
    expect(image(tmp_path, Labels={METHOD: "exec"}), "A6", "medvial.json says invoke", "build.sh")
    variables = ["PATH=/bin:/opt/venv/bin", "PYTHONUNBUFFERED=1", "MEDVIAL_API_METHOD=exec"]
    expect(image(tmp_path, Env=variables), "A6", "invoke, but MEDVIAL_API_METHOD says exec")


def test_no_label_means_exec(tmp_path):
    path = write_image(tmp_path / "x.tar", {**BASE, "opt/app/process.py": b""}, Labels=None,
                       Entrypoint=["python3", "process.py"])  # fmt: skip
    outcomes = outcomes_of(path)
    assert not bad(outcomes)
    assert outcomes["A6"].found == "no label, which means exec"


@pytest.mark.parametrize(
    ("path", "content", "text"),
    [
        ("opt/app/.git/HEAD", b"ref", ".git"),
        ("opt/app/.env", b"A=1", ".env"),
        ("opt/app/.env.local", b"A=1", ".env.local"),
        ("root/.ssh/id_rsa", b"", "id_rsa"),
        ("usr/src/app/server.key", KEY, "a private key"),
        ("root/.netrc", b"", ".netrc"),
        ("root/.aws/credentials", b"", ".aws/credentials"),
        ("opt/app/server.crt", KEY, "a private key"),
        ("opt/app/old.key", KEY.replace(b"-\n", b"-\r\nProc-Type: 4,E\r\n\r\n"), "a private key"),
        ("etc/pip.conf", b"index-url = https://me:pass@host/simple", "a password in a URL"),
        ("opt/app/a.py", b"T = 'ghp_" + b"a1" * 18 + b"'", "a GitHub token"),
        ("opt/app/a.txt", b"AKIAABCDEFGHIJKLMNOP", "an AWS key"),
    ],
)
def test_secrets_are_found_in_every_layer(tmp_path, path, content, text):
    """Also when a later layer removes them."""
    expect(image(tmp_path, {path: content}), "A10", f"/{path} ({text})", ".dockerignore")
    folder, _, name = path.rpartition("/")
    later = {f"{folder}/.wh.{name}": b""}
    expect(image(tmp_path, {path: content}, None, later), "A10", f"/{path} ({text})")


def test_what_only_looks_like_a_secret_passes(tmp_path):
    files = {
        "opt/app/.gitignore": b"x",
        "opt/app/.env/": 0o755,
        "opt/app/.env/bin/python": b"x",
        "opt/app/keys.py": b'KEY = "-----BEGIN RSA PRIVATE KEY-----"\nURL = "https://{u}:{p}@h"\n',
        # Takes a regular expression with two ways through it for ever.
        "opt/app/no.key": KEY[:32] + (b"a: " + b" " * 60 + b"\n") * 99 + b"!",
        "opt/venv/site-packages/docs.txt": b"AKIAABCDEFGHIJKLMNOP",
        "etc/ssl/certs/a.pem": b"-----BEGIN CERTIFICATE-----\n" + b"MIIEowIBAAKCAQEA" * 4,
    }
    assert not bad(outcomes_of(image(tmp_path, files)))


def test_a_key_of_a_library_is_a_warning(tmp_path):
    for path in ("opt/venv/site-packages/tornado/test/test.key", "usr/share/doc/x/id_rsa"):
        expect(image(tmp_path, {path: KEY}), "A10", f"/{path} (a p", "lost", status=Status.WARNING)


@pytest.mark.parametrize(
    "variable",
    [
        *("HF_TOKEN=x", "PGPASSWORD=x", "AWS_SECRET_ACCESS_KEY=x", "DJANGO_SECRET_KEY=x"),
        *("OPENAI_API_KEY=x", "TOKEN2=x", "githubToken=x", "DB_PASSWORD=12345678"),
    ],
)
def test_variables_that_hold_secrets_are_found(tmp_path, variable):
    variables = ["PATH=/opt/venv/bin", "PYTHONUNBUFFERED=1", variable]
    expect(image(tmp_path, Env=variables), "A10", variable.partition("=")[0])


@pytest.mark.parametrize(
    "variable",
    [
        *("GPG_KEY=A0", "TOKEN=", "TOKENIZERS_PARALLELISM=x", "MAX_TOKENS=512", "PAD_TOKEN=0"),
        *("HF_HUB_DISABLE_IMPLICIT_TOKEN=1", "USE_TOKEN=True", "DB_PASSWORD_FILE=/run/secrets/db"),
    ],
)
def test_variables_that_only_sound_like_secrets_pass(tmp_path, variable):
    variables = ["PATH=/opt/venv/bin", "PYTHONUNBUFFERED=1", variable]
    steps = [{"created_by": f"ENV {variable}"}]
    assert not bad(outcomes_of(image(tmp_path, Env=variables, history=steps)))


def test_secrets_of_settings_and_build_arguments(tmp_path):
    good = ["PATH=/opt/venv/bin", "PYTHONUNBUFFERED=1"]
    expect(image(tmp_path, Env=[*good, "HF_TOKEN=x"]), "A10", "HF_TOKEN", "readable for everyone")
    steps = ["|1 DB_PASSWORD=x /bin/sh -c make", "/bin/sh -c make"]
    history = [{"created_by": step} for step in steps]
    expect(image(tmp_path, history=history), "A10", "DB_PASSWORD")
    expect(image(tmp_path, Env=[*good, "GRAND_CHALLENGE_X=1"]), "A10", "strips GRAND_CHALLENGE_*")


def test_unbuffered_logs(tmp_path):
    expect(image(tmp_path, Env=["PATH=/opt/venv/bin"]), "A12", "ENV PYTHONUNBUFFERED=1")


def test_sizes_have_budgets(tmp_path, monkeypatch):
    path = image(tmp_path, {"a": b"1" * 90_000}, None, {"a": b"2" * 90_000})
    for name, status, text in (
        ("SLIM_BYTES", Status.WARNING, "of an image without PyTorch"),
        ("WARN_BYTES", Status.WARNING, "above 0 GB"),
        ("FAIL_BYTES", Status.FAILED, "above 0 GB"),
        ("WASTE_BYTES", Status.WARNING, "removed or replaced by later layers"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(image_gates, name, 100)
            expect(path, "A9", text, status=status)


def zstd(path):
    path.write_bytes(b"\x28\xb5\x2f\xfd" + b"\0" * 90)
    return path


def test_other_compressions_are_refused_with_advice(tmp_path):
    expect(zstd(tmp_path / "x.tar.zst"), "A1", "zstd, which the platform does not take", "zstd -dc")
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04" + b"\0" * 90)
    expect(tmp_path / "x.zip", "A1", "got zip")


def test_an_unusual_name_is_told_and_the_rest_checked(tmp_path):
    outcomes = outcomes_of(write_image(tmp_path / "x.image"))
    assert bad(outcomes) == {"A1": Status.FAILED}
    assert outcomes["A1"].found == "named x.image"
    assert "ends in .tar or .tar.gz or .tar.xz" in outcomes["A1"].mend


def test_what_is_no_archive_is_told(tmp_path):
    path = tmp_path / "x.tar.gz"
    expect(path, "A1", "No such file or directory")
    whole = write_image(path).read_bytes()
    for content in (
        *(b"", b"no gzip", gzip.compress(b"no tar" * 200), gzip.compress(b"")),
        *(whole[:-20], whole[: len(whole) // 2], whole[:-8] + b"\0" * 8),
    ):
        path.write_bytes(content)
        outcomes = outcomes_of(path)
        assert outcomes["A1"].status is Status.FAILED, content[:20]
        assert "complete archive at" in outcomes["A1"].found


def test_a_folder_is_no_archive(tmp_path):
    (tmp_path / "x.tar.gz").mkdir()
    expect(tmp_path / "x.tar.gz", "A1", "Is a directory")


@pytest.mark.parametrize(
    ("changes", "gate", "text"),
    [
        ({"leave_out": ["manifest.json"]}, "A2", "no manifest.json"),
        ({"outer": {"manifest.json": b"{"}}, "A2", "not JSON"),
        ({"outer": {"manifest.json": b"[" * 9000}}, "A2", "not JSON"),
        *(
            ({"outer": {"manifest.json": json.dumps(value).encode()}}, "A2", "list of objects")
            for value in (["x"], "x", 3, [{"Config": "c"}], [{"Config": 3, "Layers": []}])
        ),
        ({"name": "0" * 64 + ".json"}, "A3", "it was altered"),
        ({"name": "config.json"}, "A3", "it was altered"),
        ({"outer": {f"{digest(tar(APP))}/layer.tar": tar(BASE)}}, "A3", "diff_ids"),
        ({"leave_out": [f"{digest(tar(APP))}/layer.tar"]}, "A3", "missing layers: "),
        ({"diff_ids": ["sha256:" + "0" * 64]}, "A3", "diff_ids"),
        ({"config": 3}, "A3", "no object with an object config"),
        ({"pack": lambda _: b"\x28\xb5\x2f\xfd" + b"\0" * 600}, "A3", "compressed by zstd"),
    ],
)
def test_a_defect_of_the_archive_is_named(tmp_path, changes, gate, text):
    expect(image(tmp_path, **changes), gate, text)


@pytest.mark.parametrize(
    "changes",
    [
        {"Env": "x", "Labels": ["x"], "User": ["x"], "Entrypoint": {"a": 1}, "WorkingDir": 3},
        {"Env": [3, None], "Entrypoint": [None], "Cmd": 3, "Labels": {METHOD: ["exec"]}},
        {"history": 3},
        {"config": None},
        {"rootfs": []},
    ],
)
def test_settings_of_other_types_are_no_traceback(tmp_path, changes):
    assert list(outcomes_of(write_image(tmp_path / "x.tar", **changes))) == NAMES


def hostile(**fields):
    info = tarfile.TarInfo("x")
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def test_hostile_headers_are_refused(tmp_path):
    for head, text in (
        (hostile(type=tarfile.GNUTYPE_LONGNAME, size=1 << 40), "a header of up to 1 MiB"),
        (hostile(type=tarfile.XHDTYPE, size=1 << 40), "a header of up to 1 MiB"),
        (hostile(size=-5), "a header of up to 1 MiB"),
        (hostile(type=tarfile.GNUTYPE_SPARSE, size=1 << 50), "no sparse files"),
        (hostile(size=1 << 50), "complete archive"),
        (hostile(type=tarfile.XHDTYPE, size=0) * 5000, "complete archive"),
    ):
        (tmp_path / "x.tar").write_bytes(head + b"\0" * 2048)
        expect(tmp_path / "x.tar", "A1", text)
        model = tmp_path / "m.tar.gz"
        model.write_bytes(gzip.compress(head + b"\0" * 2048))
        assert text in model_outcomes(model)["B1"].found


def test_bombs_are_refused(tmp_path, monkeypatch):
    path = image(tmp_path, {"zeros": b"\0" * 300_000})
    monkeypatch.setattr(layer, "ENTRIES_LIMIT", 3)
    monkeypatch.setattr("medvial_rehearsal.archive.image.ENTRIES_LIMIT", 3)
    expect(path, "A1", "at most 3 files")
    monkeypatch.setattr(stream.DigestReader.__init__, "__kwdefaults__", {"limit": 100_000})
    expect(path, "A1", "when unpacked, got more")


def test_paths_out_of_the_image_are_refused(tmp_path):
    expect(image(tmp_path, {"../x": b""}), "A1", "paths inside the image, got '../x'")


def test_names_with_control_characters_are_escaped(tmp_path, capsys):
    path = image(tmp_path, {"tmp/\x1b[31m\nred": b""})
    assert check(path, ledger=tmp_path / "l.json") == 1
    assert "\x1b" not in capsys.readouterr().out


def test_the_tree_digest_knows_content_modes_and_owners_but_no_times(tmp_path):
    def tree(*layers):
        archive = image_gates.read_archive(write_image(tmp_path / "x.tar", *layers))
        return image_gates.load_image(archive, image_gates.only_entry(archive)).tree

    later = tarfile.TarInfo("a")
    later.mtime, later.mode = 1_700_000_000, 0o644
    reference = tree({"a": b"", "b/": 0o755})
    assert reference.digest() == tree({"b/": 0o755, "a": later}).digest()
    assert reference.digest() == tree({"b/": 0o755, "x": b""}, {".wh.x": b"", "a": b""}).digest()
    others = [{"a": b"1"}, {"a": (0o755, b"")}, {"c": b""}, {"a": "b"}, {"a/": 0o644}]
    digests = {tree({"b/": 0o755, **other}).digest() for other in others}
    assert len(digests | {reference.digest()}) == 6


def test_hard_links_and_links_on_the_way_are_followed(tmp_path):
    link = tarfile.TarInfo("opt/venv/bin/python")
    link.type, link.linkname = tarfile.LNKTYPE, "usr/bin/python3.11"
    same = {**BASE, **APP, "opt/venv/bin/python": link}
    assert not bad(outcomes_of(write_image(tmp_path / "x.tar", same)))


# The model


def model_outcomes(path):
    return {outcome.gate: outcome for outcome in check_model(ModelContext(path))}


def model_failures(path):
    return {n: o for n, o in model_outcomes(path).items() if o.status is Status.FAILED}


@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_good_model(tmp_path, prefix):
    outcomes = model_outcomes(write_model(tmp_path / "model.tar.gz", prefix=prefix))
    assert bad(outcomes) == {"B5": Status.NOT_RUN}
    assert not outcomes["B5"].required
    assert "algorithms/unheard_of/process.py" in outcomes["B5"].found
    assert "model.onnx, postprocess.json" in outcomes["B4"].found


def test_failure_15_model_in_a_folder(tmp_path):
    failures = model_failures(write_model(tmp_path / "model.tar.gz", prefix="model/"))
    assert failures["B3"].found == "everything lies in the folder model/"
    assert "not the folder" in failures["B3"].mend


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize(
    ("target", "text"), [("model.onnx", "links: link"), ("/etc/passwd", "refuses to unpack")]
)
def test_failure_15_model_with_links(tmp_path, kind, target, text):
    link = tarfile.TarInfo("link")
    link.type, link.linkname = kind, target
    failures = model_failures(write_model(tmp_path / "model.tar.gz", {"link": link}))
    assert text in failures["B2"].found


@pytest.mark.parametrize(
    ("changes", "gate", "text"),
    [
        ({"manifest.json": None}, "B4", "no manifest.json at the top"),
        ({"manifest.json": b"{"}, "B4", "no object with an object files"),
        ({"manifest.json": b"[1]"}, "B4", "no object with"),
        ({"manifest.json": b'{"files": [1]}'}, "B4", "no object with"),
        ({"manifest.json": b'{"files": [["model.onnx", "0"]]}'}, "B4", "no object with"),
        ({"manifest.json": b'{"files": null}'}, "B4", "no object with"),
        ({"model.onnx": None}, "B4", "missing: model.onnx; not listed: none"),
        ({"a.txt": b""}, "B4", "missing: none; not listed: a.txt"),
        ({"model.onnx": b"WEIGHTS"}, "B4", "other sha256 sums than in manifest.json: model.onnx"),
        ({"../x": b""}, "B2", "refuses to unpack"),
        ({"a": tarfile.TarInfo("./model.onnx")}, "B2", "more than once: model.onnx"),
    ],
)
def test_failure_16_model_that_is_not_whole(tmp_path, changes, gate, text):
    assert text in model_failures(write_model(tmp_path / "model.tar.gz", changes))[gate].found


def test_failure_16_empty_model(tmp_path):
    path = tmp_path / "model.tar.gz"
    path.write_bytes(gzip.compress(tar({})))
    failures = model_failures(path)
    assert "holds no file" in failures["B3"].found
    assert "no manifest.json" in failures["B4"].found


def test_a_pipe_in_a_model_is_refused(tmp_path):
    pipe = tarfile.TarInfo("p")
    pipe.type = tarfile.FIFOTYPE
    assert "B2" in model_failures(write_model(tmp_path / "model.tar.gz", {"p": pipe}))


def test_a_model_is_compressed_by_gzip(tmp_path):
    path = write_model(tmp_path / "model.tar.gz")
    path.write_bytes(gzip.decompress(path.read_bytes()))
    assert "Expected .tar.gz" in model_failures(path)["B1"].found
    whole = write_model(path).read_bytes()
    path.write_bytes(whole[:-9])
    failures = model_failures(path)
    assert list(failures) == ["B1"]
    assert "complete archive" in failures["B1"].found


# The command


def test_the_command_writes_outcomes_and_says_what_to_do(tmp_path, capsys):
    path, model = image(tmp_path, User="root"), write_model(tmp_path / "model.tar.gz")
    report = tmp_path / "report.json"
    ledger = tmp_path / "ledger.json"
    assert check(path, model, json=report, ledger=ledger, record=True) == 1
    assert not ledger.exists()
    values = json.loads(report.read_text())
    assert [value["gate"] for value in values] == [*NAMES, "B1", "B2", "B3", "B4", "B5"]
    assert {value["status"] for value in values} == {"passed", "failed", "not run"}
    text = capsys.readouterr().out
    assert "USER is 'root': the platform refuses root" in text
    assert "file tree sha256" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    assert check(image(tmp_path), model, ledger=ledger) == 0
    assert check(model, only_model=True) == 0
    with pytest.raises(InputError, match="Expected an image archive"):
        check(model, ledger=ledger, uploaded=True)


def test_a_model_in_the_place_of_an_image_is_told(tmp_path):
    path = write_model(tmp_path / "m.tar.gz")
    expect(path, "A2", "m.tar.gz is a model tarball, not an image", "Add --only-model")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"only_model": True, "model": True}, "Expected --only-model without a second archive"),
        ({"only_model": True, "record": True, "uploaded": True}, "without --record, --uploaded,"),
        ({"only_model": True, "sbom": True}, "without --sbom,"),
        ({"uploaded": True, "json": True}, "Expected --uploaded without --json"),
        ({"uploaded": True, "model": True, "record": True}, "without --record, a second archive,"),
        ({"uploaded": True, "sbom": True}, "without --sbom,"),
    ],
)
def test_options_that_would_do_nothing_are_refused(tmp_path, options, told):
    path, ledger = write_model(tmp_path / "m.tar.gz"), tmp_path / "ledger.json"
    files = {"model": path, "json": tmp_path / "o.json", "sbom": tmp_path / "o.cdx.json"}
    options = {name: files.get(name, value) for name, value in options.items()}
    with pytest.raises(InputError, match=told):
        check(path, ledger=ledger, **options)
    assert list(tmp_path.iterdir()) == [path]


def test_reading_keeps_no_content(tmp_path):
    path = image(tmp_path, {"big": bytes(range(256)) * 4096})
    archive = image_gates.read_archive(path)
    entries = [entry for layer in archive.layers.values() for entry in layer.entries]
    assert sum(len(entry.content or b"") for entry in entries) < 2000


def test_an_old_tarfile_gives_way_to_its_backport(monkeypatch):
    """Python before 3.11.4 has no filters; the tests of B2 above run with the backport there."""
    backport = types.ModuleType("backports.tarfile")
    backports = types.ModuleType("backports")
    backports.tarfile = backport
    monkeypatch.setitem(sys.modules, "backports", backports)
    monkeypatch.setitem(sys.modules, "backports.tarfile", backport)
    old = types.ModuleType("tarfile")
    monkeypatch.setitem(sys.modules, "tarfile", old)
    spec = importlib.util.spec_from_file_location("old_tar", tar_module.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.tarfile is backport
    assert tar_module.tarfile.data_filter  # whichever this Python has
