"""All 19 reads of the Gradebook: what each gives, to whom, and nothing of what a grant hides."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

import pytest

from hub.api.oneroster.gradebook import GRADEBOOK
from hub.api.oneroster.scopes import V1P2
from tests.api.oneroster.gradebooks import Book, ref
from tests.api.oneroster.rosters import issue, minor

COLLECTIONS = [o for o in GRADEBOOK if not o.single and not o.parents]


async def filled(book: Book) -> None:
    """Beside the SIS's objects one of each entity that its files do not have, in each of the two classes."""
    for key, class_ in (("here", book.ids.here), ("there", book.ids.there)):
        await book.make("assessmentLineItems", key, {"class": ref(class_)}, app="quiz")
    student = ref(book.ids.there_student)
    await book.make("assessmentResults", "here", {"assessmentLineItem": ref("here")}, app="quiz")
    await book.make("assessmentResults", "there", {"assessmentLineItem": ref("there"), "student": student}, app="quiz")


def test_the_standard_has_19_reads() -> None:
    assert len(GRADEBOOK) == 19


@pytest.mark.threat("T12", "T13", "T17")
async def test_every_read_gives_what_the_grant_shows(book: Book) -> None:
    await filled(book)
    ids, sis = book.ids, book.ids.sis
    nested: Mapping[str, list[str]] = {
        f"/classes/{ids.here}/categories": [sis["K1"], sis["K2"]],  # one is used there, the other by nobody yet
        f"/classes/{ids.here}/lineItems": [sis["L1"]],
        f"/classes/{ids.here}/results": [sis["R1"]],
        f"/classes/{ids.here}/scoreScales": [sis["S1"]],
        f"/classes/{ids.here}/lineItems/{sis['L1']}/results": [sis["R1"]],
        f"/classes/{ids.here}/students/{ids.students[0]}/results": [sis["R1"]],
        f"/classes/{ids.here}/students/{ids.students[1]}/results": [],
        f"/schools/{ids.school}/scoreScales": [sis["S1"]],
    }  # fmt: skip
    elsewhere: Mapping[str, list[str]] = {
        f"/classes/{ids.there}/lineItems": [sis["L2"]], f"/classes/{ids.there}/results": [sis["R2"]],
        f"/classes/{ids.there}/lineItems/{sis['L2']}/results": [sis["R2"]],
        f"/classes/{ids.there}/scoreScales": [], f"/classes/{ids.there}/categories": [sis["K1"], sis["K2"]],
        f"/classes/{ids.there}/students/{ids.there_student}/results": [sis["R2"]],
        f"/schools/{ids.other_school}/scoreScales": [],
    }  # fmt: skip
    for path, expected in {**nested, **elsewhere}.items():
        assert await book.keys(path) == expected, path
    for path, expected in nested.items():
        assert await book.keys(path, app="math") == expected, path
    wrong = (f"/classes/{ids.here}/lineItems/{sis['L2']}/results", f"/schools/{ids.here}/scoreScales")
    for path in (*elsewhere, *wrong):
        status, body, _ = await book.get(path, app="math")
        assert (status, minor(body)) == (404, "unknownobject"), path
    shown = {o.entity.name: await book.keys(o.path, app="math") for o in COLLECTIONS}
    whole = {o.entity.name: await book.keys(o.path) for o in COLLECTIONS}
    assert {name: (len(found), len(shown[name])) for name, found in whole.items()} == {
        "categories": (2, 2), "lineItems": (2, 1), "results": (2, 1), "scoreScales": (1, 1),
        "assessmentLineItems": (2, 1), "assessmentResults": (2, 1),
    }  # fmt: skip
    for entity, found in whole.items():
        for sourced_id in (*found, str(uuid4())):
            status, body, _ = await book.get(f"/{entity}/{sourced_id}", app="math")
            assert status == (200 if sourced_id in shown[entity] else 404)
            if status == 404:
                assert minor(body) == "unknownobject"


@pytest.mark.threat("T12", "T24")
async def test_every_read_wants_its_scope_and_a_grant(book: Book) -> None:
    await filled(book)
    client, ids = book.hub.prepared.clients["quiz"][0], book.ids
    places = {"classSourcedId": ids.here, "schoolSourcedId": ids.school, "lineItemSourcedId": ids.sis["L1"],
              "studentSourcedId": ids.students[0]}  # fmt: skip
    for scopes in ([V1P2.GRADEBOOK], [V1P2.GRADEBOOK_CORE], [V1P2.ASSESSMENT], [V1P2.GRADEBOOK_PUT, V1P2.ROSTER]):
        token = await issue(book.hub.db, client, scopes)
        for operation in GRADEBOOK:
            one = (await book.keys(f"/{operation.entity.name}", app="quiz"))[0]
            assessment = operation.entity.name.startswith("assessment")
            enough = {V1P2.ASSESSMENT} if assessment else {V1P2.GRADEBOOK} | (
                set() if operation.parents else {V1P2.GRADEBOOK_CORE}
            )  # fmt: skip
            path = operation.path.format(**(places | {"sourcedId": one}))
            status, body, _ = await book.get(path, token=token)
            assert status == (200 if enough & set(scopes) else 403), (path, scopes)
            if status == 403:
                assert minor(body) == "forbidden"
            elif operation.single:
                assert body[operation.envelope]["sourcedId"] == one
    for operation in COLLECTIONS:  # a grant that has none of it shows none of it
        assert await book.keys(operation.path, app="plain") == []


async def test_filters_and_orders_of_gradebook_fields(book: Book) -> None:
    ids, sis = book.ids, book.ids.sis
    for key, score in (("a", 5), ("b", 10), ("c", 7.5)):
        await book.make("results", key, {"score": score, "late": key == "a", "scoreDate": f"2026-09-1{score:.0f}"[:10]})
    for query, expected in (
        ("score>'7'", [sis["R1"], sis["R2"], "b", "c"]), ("score='10'", ["b"]), ("late='true'", ["a"]),
        ("scoreStatus='fully graded' AND score<'7'", ["a"]), (f"class.sourcedId='{ids.there}'", [sis["R2"]]),
        (f"lineItem.sourcedId='{sis['L1']}'", [sis["R1"], "a", "b", "c"]),
        ("scoreDate<'2026-09-10'", [sis["R1"], sis["R2"]]),
    ):  # fmt: skip
        assert await book.keys("/results", filter=query) == expected, query
    assert await book.keys("/results", sort="score", orderBy="desc") == [sis["R1"], sis["R2"], "b", "c", "a"]


async def test_filters_by_learning_objectives(book: Book) -> None:
    case, own = (
        str(uuid4()),
        {"metadata": {"learningObjectiveSet": [{"source": "forged"}], "note": '"source":"forged"'}},
    )
    for key, source, ids in (("x", "case", [case]), ("y", "unknown", ["Fractions", "Sums"])):
        objectives = [{"source": source, "learningObjectiveIds": ids}]
        await book.make("lineItems", key, {"learningObjectiveSet": objectives, **own})
    reached = [
        {"source": "unknown", "learningObjectiveResults": [
            {"learningObjectiveId": "Fractions", "score": 9.5}, {"learningObjectiveId": "Sums", "textScore": "Meets"},
        ]},
    ]  # fmt: skip
    await book.make("results", "r", {"learningObjectiveSet": reached, **own})
    inside = "learningObjectiveSet.learningObjectiveResults"
    for entity, query, expected in (
        ("lineItems", "learningObjectiveSet.source='case'", ["x"]),
        ("lineItems", f"learningObjectiveSet.learningObjectiveIds='{case}'", ["x"]),
        ("lineItems", "learningObjectiveSet.learningObjectiveIds='Sums,Fractions'", ["y"]),
        ("lineItems", "learningObjectiveSet.learningObjectiveIds='sums'", []),
        ("lineItems", "learningObjectiveSet.source='forged'", []),
        ("results", f"{inside}.score<'10'", ["r"]), ("results", f"{inside}.score>'9.5'", []),
        ("results", f"{inside}.textScore~'EETS'", ["r"]), ("results", f"{inside}.learningObjectiveId='Sums'", ["r"]),
        ("results", "learningObjectiveSet.source!='case'", ["r"]),
    ):  # fmt: skip
        assert await book.keys(f"/{entity}", filter=query) == expected, query
    for wrong in ("learningObjectiveSet='x'", f"{inside}='x'", "learningObjectiveSet.learningObjectiveIds.x='y'",
                  "learningObjectiveSet.learningObjectiveResults.source='case'"):  # fmt: skip
        assert (await book.get("/results", filter=wrong))[0] == 400, wrong
