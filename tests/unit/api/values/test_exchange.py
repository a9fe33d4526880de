"""Values move between artfs and the real wandb package, both ways, with equal documents."""

from __future__ import annotations

import datetime
import enum
import hashlib
import io
import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest

from artfs.api import values
from tests.support.values import Folder, WandbView

np = pytest.importorskip("numpy")
PILImage = pytest.importorskip("PIL.Image")

pytestmark = [
    # Of wandb's own doing, on newer versions of Pillow.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:PIL"),
    # Its temporary directory goes with the process.
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),
]

#: `artfs.api.values`, or wandb: both have the same classes.
Package: TypeAlias = Any
#: A value of either, or JSON.
Thing: TypeAlias = Any
Add = Callable[..., Folder]
CLASSES = [{"id": 0, "name": "sky"}, {"id": 1, "name": "cat"}]


def plain(document: Thing) -> Thing:
    """The document without what has no order or no fixed name."""
    if isinstance(document, dict):
        if document.get("wb_type") == "const":
            return {**document, "params": sets_sorted(document["params"])}
        if "classes_obj" in document:
            # wandb calls the file of a column's classes media/cls, whatever classes they are.
            document = {**document, "classes_obj": {**document["classes_obj"], "path": ""}}
        return {key: plain(value) for key, value in document.items()}
    return [plain(item) for item in document] if isinstance(document, list) else document


def sets_sorted(value: Thing) -> Thing:
    if isinstance(value, dict):
        return {key: sets_sorted(item) for key, item in value.items()}
    return sorted(value, key=repr) if isinstance(value, list) else value


def picture() -> Thing:
    return np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3)


def mask() -> Thing:
    return np.array([[0, 1, 1], [0, 0, 1]], dtype=np.uint8)


BOXES = {
    "box_data": [
        {
            "position": {"minX": 0.1, "maxX": 0.2, "minY": 0.3, "maxY": 0.4},
            "class_id": 1,
            "box_caption": "a cat",
            "scores": {"p": 0.9, "loss": 1},
        },
        {"position": {"middle": [3, 2], "width": 2, "height": 1}, "domain": "pixel", "class_id": 0},
    ],
    "class_labels": {0: "sky", 1: "cat"},
}


def image(package: Package, **more: Thing) -> Thing:
    return package.Image(
        picture(),
        caption="a picture",
        boxes={"truth": BOXES},
        masks={"guess": {"mask_data": mask(), "class_labels": {0: "sky", 1: "dog"}}},
        classes=package.Classes(CLASSES),
        **more,
    )


def audio(package: Package) -> Thing:
    # wandb needs a further package for samples; files it takes as they are.
    return package.Audio(str(Path(__file__).parent / "tone.wav"), caption="a tone")


def scalars(package: Package) -> Thing:
    rows = [
        [1, "a", True, None, 1.5, datetime.datetime(2024, 5, 6, 7, 8, 9)],
        [2.5, "b", False, 3, float("nan"), None],
    ]
    return package.Table(["n", "s", "b", "o", "f", "t"], rows)


def objects(package: Package) -> Thing:
    row = [b"x", Decimal("2.5"), datetime.date(2024, 5, 6), int, Path, {3, 1}, np.float64(1.5)]
    return package.Table(["a", "b", "c", "d", "e", "f", "g"], [row])


class Colour(enum.IntEnum):
    RED = 1


def keys(package: Package) -> Thing:
    cells = [{10: "a", 9: "b"}, {True: 1, False: 2}, {None: 1}, {1.5: 2}, {"k": Colour.RED}]
    return package.Table(["a", "b", "c", "d", "e"], [cells])


def nested(package: Package) -> Thing:
    rows = [
        [[1, 2], {"k": 1, "l": "x"}, np.float32(0.5), np.datetime64("2024-01-02")],
        [[3], {"k": 2, "l": "y"}, np.float32(1.5), np.datetime64("2024-01-03")],
        [[], {"k": 3, "l": "y"}, None, np.datetime64("2024-01-02T03:04:05.678")],
    ]
    return package.Table(["list", "dict", "number", "time"], rows, optional=[True] * 4)


def typed(package: Package) -> Thing:
    table = package.Table(
        ["i", "s", "l", "any"],
        [[1, "x", ["p"], 1], [2, "y", ["q", "r"], None]],
        dtype=[int, str, [str], int],
        optional=[False, False, True, True],
    )
    table.add_column("more", [1.5, 2.5])
    table.add_computed_columns(lambda index, row: {"sum": index + row["i"]})
    return table


def mixed(package: Package) -> Thing:
    return package.Table(["a"], [[1], ["x"], [[1, "x"]]], allow_mixed_types=True)


def arrays(package: Package) -> Thing:
    rows = [[np.arange(3), np.arange(6).reshape(2, 3) + i] for i in range(3)]
    return package.Table(["vector", "matrix"], rows)


def numbered(package: Package) -> Thing:
    return package.Table([0, 1], [[1, 2], [3, 4]])


def class_ids(package: Package) -> Thing:
    table = package.Table(["id"], [[1], [0]])
    table.cast("id", package.Classes(CLASSES).get_type())
    return table


def media(package: Package) -> Thing:
    second = package.Image(
        PILImage.new("L", (2, 3), 7), boxes={"other": BOXES}, classes=[{"id": 7, "name": "dog"}]
    )
    rows = [
        [image(package), audio(package), package.Html("<p>x</p>")],
        [second, audio(package), None],
    ]
    return package.Table(["image", "audio", "html"], rows)


def tables(package: Package) -> Thing:
    inner = package.Table(["x"], [[1], [2]])
    return package.Table(["t", "n"], [[inner, 1], [inner, 2]])


def linked(package: Package) -> Thing:
    people = package.Table(["name", "age"], [["ann", 3], ["bob", 4]])
    people.set_pk("name")
    visits = package.Table(["who", "row"], [])
    visits.set_fk("who", people, "name")
    for index, row in people.iterrows():
        visits.add_data(str(row[0]), index)
    return visits


def cloud(package: Package) -> Thing:
    return package.Object3D.from_point_cloud(
        [[0.5, 1, 2], [3, 4, 5]],
        [{"corners": [[0, 0, 0]] * 8, "label": "ü", "color": [1, 2, 3], "score": 0.5}],
        [{"start": [0, 0, 0], "end": [1, 1, 1.5]}],
    )


def bokeh(package: Package) -> Thing:
    plotting = pytest.importorskip("bokeh.plotting")
    serialization = pytest.importorskip("bokeh.util.serialization")
    serialization._simple_id = 999  # it counts its objects; equal plots begin with the same number
    figure = plotting.figure(title="a plot")
    figure.line([1, 2, 3], [4, 6, 5])
    return package.Bokeh(figure)


def video(package: Package) -> Thing:
    return package.Video(io.BytesIO(b"GIF89a..."), caption="c", format="gif")


def partitioned(package: Package) -> Thing:
    return package.PartitionedTable("parts")


CASES: dict[str, Callable[[Package], Thing]] = {
    "scalars": scalars,
    "objects": objects,
    "keys": keys,
    "nested": nested,
    "typed": typed,
    "mixed": mixed,
    "arrays": arrays,
    "numbered": numbered,
    "class_ids": class_ids,
    "media": media,
    "tables": tables,
    "linked": linked,
    "image": image,
    "plain_image": lambda package: package.Image(picture()[..., :1], grouping=3, file_type="bmp"),
    "classes": lambda package: package.Classes(CLASSES),
    "mask": lambda package: package.ImageMask({"mask_data": mask()}, "m"),
    "points": lambda package: package.Object3D(np.arange(12).reshape(2, 6) / 7, caption="c"),
    "cloud": cloud,
    "bokeh": bokeh,
    "video": video,
    "partitioned": partitioned,
    "boxes": lambda package: package.BoundingBoxes2D(BOXES, "b"),
    "audio": audio,
    "html": lambda package: package.Html("<html><body>ü</body></html>"),
    "bare_html": lambda package: package.Html("<p>", inject=False),
}


def module_for(package: ModuleType) -> Thing:
    """wandb's classes; some are only in a module of it."""

    class All:
        def __getattr__(self, name: str) -> Thing:
            from wandb.sdk.data_types.helper_types.bounding_boxes_2d import BoundingBoxes2D
            from wandb.sdk.data_types.helper_types.image_mask import ImageMask

            inner = {"BoundingBoxes2D": BoundingBoxes2D, "ImageMask": ImageMask}
            return (
                inner.get(name) or getattr(package, name, None) or getattr(package.data_types, name)
            )

    return All()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Callable[[Package], Thing]:
    return CASES[request.param]


#: The documents that wandb 0.30 wrote of these cases, where none of the files depends on versions
#: of Pillow, zlib or bokeh. They are compared with where wandb is not installed.
RECORD: dict[str, dict[str, Thing]] = json.loads(
    (Path(__file__).parent / "written_by_wandb.json").read_bytes()
)


def documents(folder: Folder) -> dict[str, Thing]:
    return {name: plain(folder.document(name)) for name in folder.names("") if name[:2] == "v."}


@pytest.mark.parametrize("name", RECORD)
def test_documents_are_those_of_the_record(name: str, ours: Folder) -> None:
    values.write(CASES[name](values), "v", ours)
    assert documents(ours) == RECORD[name]


@pytest.mark.parametrize("name", RECORD)
def test_the_record_is_what_wandb_writes(name: str, wandb: ModuleType, add_theirs: Add) -> None:
    assert documents(add_theirs(v=CASES[name](module_for(wandb)))) == RECORD[name]


def json_name(folder: Folder) -> str:
    return next(name for name in folder.names("") if not name.startswith("media/"))


def test_documents_are_equal(
    case: Callable[[Package], Thing], wandb: ModuleType, ours: Folder, add_theirs: Add
) -> None:
    theirs = add_theirs(v=case(module_for(wandb)))
    name = values.write(case(values), "v", ours)
    assert name == json_name(theirs)
    assert plain(ours.document(name)) == plain(theirs.document(name))
    if b'"const"' not in ours.local(name).read_bytes():  # else sets are in it, in no order
        assert ours.local(name).read_bytes() == theirs.local(name).read_bytes()


def test_the_same_files_are_written(
    case: Callable[[Package], Thing], wandb: ModuleType, ours: Folder, add_theirs: Add
) -> None:
    theirs = add_theirs(v=case(module_for(wandb)))
    values.write(case(values), "v", ours)

    assert digests(ours) == digests(theirs)


def digests(folder: Folder) -> dict[str, str]:
    """The media files by name. Sets in the documents of linked tables have no order."""
    return {
        re.sub(r"media/(classes/[0-9a-f]{32}_)?cls", "CLASSES", name): hashlib.sha256(
            folder.local(name).read_bytes()
        ).hexdigest()
        for name in folder.media()
    }


def test_images_of_older_versions(ours: Folder, wandb: ModuleType) -> None:
    """Their types had `box_keys` and `mask_keys`, and dictionaries another name."""
    values.write(values.Table(["i"], [[image(values)]]), "v", ours)
    document = ours.document("v.table.json")
    keys = {"wb_type": "const", "params": {"val": ["truth"], "is_set": True}}
    kind = {"wb_type": "wandb.Image", "params": {"box_keys": keys, "mask_keys": keys}}
    document["column_types"] = {"wb_type": "dictionary", "params": {"type_map": {"i": kind}}}
    with ours.new_file("v.table.json") as file:
        file.write(values.places.encode(document))
    read = values.read("v", ours)
    assert isinstance(read, values.Table)
    assert read.data[0][0] == image(values)
    assert len(WandbView(ours).get("v").data) == 1


def test_ours_is_read_by_wandb(
    case: Callable[[Package], Thing], wandb: ModuleType, ours: Folder, add_theirs: Add
) -> None:
    if case in (objects, keys):
        pytest.skip("wandb cannot read what it writes of objects that JSON has no form for")
    values.write(case(values), "v", ours)
    read = WandbView(ours).get("v")
    expected = case(module_for(wandb))
    assert type(read) is type(expected)
    if isinstance(read, wandb.Table):
        # wandb itself does not find the tables equal again that it has written and read: compare
        # with what it makes of its own file.
        expected = WandbView(add_theirs(v=expected)).get("v")
        assert read.columns == expected.columns
        assert comparable(read.data) == comparable(expected.data)
    elif isinstance(read, wandb.Image):
        assert np.array_equal(read.image, expected.image)
        assert read._classes == expected._classes
        assert (read._boxes or {}).keys() == (expected._boxes or {}).keys()
        assert (read._masks or {}).keys() == (expected._masks or {}).keys()
    elif hasattr(read, "_val"):
        assert read._val == expected._val
    else:
        assert read == expected


def comparable(data: Thing) -> Thing:
    if isinstance(data, list):
        return [comparable(cell) for cell in data]
    if hasattr(data, "tolist"):
        return data.tolist()
    if hasattr(data, "columns"):
        return [data.columns, comparable(data.data)]
    return getattr(data, "_sha256", None) or data


def test_theirs_is_read_by_us(
    case: Callable[[Package], Thing], wandb: ModuleType, ours: Folder, add_theirs: Add
) -> None:
    theirs = add_theirs(v=case(module_for(wandb)))
    read = values.read("v", theirs)
    name = values.write(read, "v", ours)
    assert plain(ours.document(name)) == plain(theirs.document(name))


def test_ours_is_read_by_us(case: Callable[[Package], Thing], ours: Folder, tmp_path: Path) -> None:
    name = values.write(case(values), "v", ours)
    again = Folder(tmp_path / "again")
    read = values.read("v", ours)
    assert type(read) is type(case(values))
    assert values.write(read, "v", again) == name
    assert again.document(name) == ours.document(name)
    assert again.names("") == ours.names("")
