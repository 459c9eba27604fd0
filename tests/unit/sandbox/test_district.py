"""A clean sandbox district is a flawless OneRoster package of the size asked for, and the same every time."""

import csv
import io
import zipfile
from pathlib import Path

import polars as pl
import pytest

from hub.sandbox import District, DistrictPlan, generate, write_sandbox
from transforms.catalogue import CATALOGUE, Kind, Need, Version

USERS_HEADER = {
    "1.1": (
        "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,"
        "middleName,identifier,email,sms,phone,agentSourcedIds,grades,password"
    ),
    "1.2": (
        "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,middleName,identifier,"
        "email,sms,phone,agentSourcedIds,grades,password,userMasterIdentifier,preferredGivenName,preferredMiddleName,"
        "preferredFamilyName,primaryOrgSourcedId,pronouns"
    ),
}
ENROLLMENTS_HEADER = (
    "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate"
)
FILES = {
    "1.1": {"orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"},
    "1.2": {
        "orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics", "roles",
        "userProfiles",
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=["1.1", "1.2"])
def clean(request: pytest.FixtureRequest) -> District:
    return generate(DistrictPlan(students=2_000, seed=7, version=request.param, dirt=0))


def rows_of(package: Path, file: str, encoding: str = "utf-8") -> list[list[str]]:
    with zipfile.ZipFile(package) as archive:
        return list(csv.reader(io.StringIO(archive.read(f"{file}.csv").decode(encoding), newline="")))


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_equal_plans_give_equal_bytes(tmp_path: Path, version: Version) -> None:
    plan = DistrictPlan(students=400, seed=3, version=version, changes=True)
    write_sandbox(tmp_path / "a", plan)
    write_sandbox(tmp_path / "b", plan)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["changes.json", "changes.zip", "district.zip", "truth.json"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_another_seed_is_another_district(tmp_path: Path) -> None:
    packages = [write_sandbox(tmp_path / str(s), DistrictPlan(students=200, seed=s)).files.package for s in (1, 2)]
    assert packages[0].read_bytes() != packages[1].read_bytes()


def test_sizes_are_those_of_the_benchmarks() -> None:
    district = generate(DistrictPlan(students=20_000, seed=2, version="1.2", dirt=0))
    students = district.frames["users"]["grades"].is_not_null().sum()
    assert students == 20_000
    assert district.frames["classes"].height == pytest.approx(1_500, rel=0.1)
    assert district.frames["enrollments"].height == pytest.approx(150_000, rel=0.05)


def test_the_package_has_exactly_the_files_and_headers_of_its_version(clean: District, tmp_path: Path) -> None:
    version = clean.plan.version
    package = clean.write(tmp_path).package
    with zipfile.ZipFile(package) as archive:
        assert set(archive.namelist()) == {"manifest.csv", *(f"{f}.csv" for f in FILES[version])}
    assert ",".join(rows_of(package, "users")[0]) == USERS_HEADER[version]
    assert ",".join(rows_of(package, "enrollments")[0]) == ENROLLMENTS_HEADER
    for file in FILES[version]:
        rows = rows_of(package, file)
        assert rows[0] == list(CATALOGUE.files(version)[file].csv_header(version))
        assert {len(row) for row in rows} == {len(rows[0])}
        assert all(row[1] == row[2] == "" for row in rows[1:]), "status and date are blank in bulk mode"


def test_the_manifest_names_every_file_of_the_version(clean: District, tmp_path: Path) -> None:
    manifest = dict(rows_of(clean.write(tmp_path).package, "manifest"))
    assert manifest["oneroster.version"] == clean.plan.version
    files = {k.removeprefix("file."): v for k, v in manifest.items() if k.startswith("file.")}
    assert len(files) == {"1.1": 13, "1.2": 21}[clean.plan.version]
    assert {f for f, mode in files.items() if mode == "bulk"} == FILES[clean.plan.version]


def test_every_reference_resolves(clean: District) -> None:
    version = clean.plan.version
    files = CATALOGUE.files(version)
    ids = {files[f].name: set(frame["sourcedId"]) for f, frame in clean.frames.items()}
    for file, frame in clean.frames.items():
        for field in files[file].csv_columns(version):
            if field.kind is Kind.REF:
                cells = frame[field.csv_name].drop_nulls()
                targets = cells.str.split(",").explode() if field.many else cells
                assert set(targets) <= ids[field.target], f"{file}.{field.csv_name}"
    assert ids["demographics"] <= ids["users"]


def test_ids_are_unique_required_cells_filled_and_words_listed(clean: District) -> None:
    version = clean.plan.version
    for file, frame in clean.frames.items():
        assert frame["sourcedId"].is_unique().all()
        for field in CATALOGUE.files(version)[file].csv_columns(version):
            column = frame[field.csv_name]
            if field.csv_need(version) is Need.REQUIRED:
                assert column.null_count() == 0, f"{file}.{field.csv_name}"
            if field.vocabulary:
                words = column.drop_nulls().str.split(",").explode() if field.many else column.drop_nulls()
                assert set(words) <= set(field.vocabulary.tokens(version)), f"{file}.{field.csv_name}"
    everything = pl.concat([f["sourcedId"] for name, f in clean.frames.items() if name != "demographics"])
    assert everything.is_unique().all()


def test_enrollments_make_sense(clean: District) -> None:
    seats, classes = clean.frames["enrollments"], clean.frames["classes"]
    joined = seats.join(
        classes.select("sourcedId", s="schoolSourcedId"), left_on="classSourcedId", right_on="sourcedId"
    )
    assert (joined["s"] == joined["schoolSourcedId"]).all()
    leads = seats.filter(pl.col("primary") == "true")["classSourcedId"]
    assert leads.is_unique().all()
    assert set(leads) == set(classes["sourcedId"]), "each class has one primary teacher"
    assert set(seats.filter(pl.col("role") == "student")["classSourcedId"]) == set(classes["sourcedId"])
    assert seats.filter(pl.col("role") == "student")["primary"].null_count() == (seats["role"] == "student").sum()
    assert seats.select("classSourcedId", "userSourcedId").is_unique().all()
    sessions = clean.frames["academicSessions"]
    assert (seats["beginDate"] >= sessions["startDate"].min()).all()
    assert (seats["endDate"] <= sessions["endDate"].max()).all()


def test_people_are_as_people_are(clean: District) -> None:
    users, born = clean.frames["users"], clean.frames["demographics"].select("sourcedId", "birthDate")
    students = users.filter(pl.col("grades").is_not_null()).join(born, on="sourcedId")
    families = students["familyName"]
    for sign in ("-", " ", "'", "[áéíóúñ]", "[^A-Za-zÀ-ž' -]"):
        assert families.str.contains(sign).any(), f"no family name with {sign}"
    twins = students.filter(pl.struct("familyName", "birthDate").is_duplicated())
    assert twins.height > 20
    assert twins.select("familyName", "birthDate", "givenName").is_unique().mean() > 0.95
    assert students["agentSourcedIds"].is_not_null().mean() == pytest.approx(0.05, abs=0.03)
    guardians = users.filter(pl.col("username").str.starts_with("p."))
    children = dict(guardians.select("sourcedId", "agentSourcedIds").iter_rows())
    for child, agents in students.select("sourcedId", "agentSourcedIds").drop_nulls().iter_rows():
        assert all(child in children[agent].split(",") for agent in agents.split(","))


def test_some_work_or_learn_at_two_schools(clean: District) -> None:
    if clean.plan.version == "1.1":
        several = clean.frames["users"].filter(pl.col("orgSourcedIds").str.contains(","))
        assert {"teacher", "student"} <= set(several["role"])
    else:
        roles = clean.frames["roles"]
        assert {"teacher", "student"} <= set(roles.filter(pl.col("roleType") == "secondary")["role"])
        assert roles.filter(pl.col("roleType") == "primary")["userSourcedId"].is_unique().all()
        assert {"principal", "counselor", "districtAdministrator"} <= set(roles["role"])


def test_nothing_could_reach_anybody(clean: District) -> None:
    users = clean.frames["users"]
    assert users["email"].drop_nulls().str.ends_with(".example").all()
    for column in ("phone", "sms"):
        assert users[column].drop_nulls().str.contains(r"^\+1[2-9]\d\d55501\d\d$").all()


def test_ids_look_different_from_district_to_district() -> None:
    looks = set()
    for seed in range(4):
        frame = generate(DistrictPlan(students=100, seed=seed, dirt=0)).frames["users"]
        key = frame["sourcedId"][0]
        looks.add(
            "guid" if len(key) == 36 else "prefixed" if key.startswith("STU-") else "number" if key.isdigit() else key
        )
    assert looks == {"guid", "prefixed", "number"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"students": 99}, {"students": 1_000_001}, {"version": "1.0"}, {"seed": -1}, {"dirt": 0.5}, {"guardians": 2},
        {"change_scale": 0}, {"change_percent": 0}, {"change_percent": 30},
    ],
)  # fmt: skip
def test_impossible_plans_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"students|version|seed|dirt|change"):
        DistrictPlan(**({"students": 200} | wrong))


@pytest.mark.parametrize("focus", [(), (99,), (0, 1, 2, 3)])
def test_the_focus_must_be_some_schools_but_not_all(focus: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="focus"):
        generate(DistrictPlan(students=200, focus=focus, changes=True))


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    write_sandbox(tmp_path, DistrictPlan(students=150), lambda *step: told.append(step))
    assert [step[0] for step in told][-1] == "writing district.zip"
    assert told[-1][1] == told[-1][2]
    assert all(done <= total for _, done, total in told)
