"""Images, sounds, videos, pages and scenes: what they are made from, and what of them is kept."""

from __future__ import annotations

import gc
import io
import json
import sys
import wave
from pathlib import Path
from types import ModuleType

import pytest

from artfs.api import values
from artfs.api.values import (
    Audio,
    BoundingBoxes2D,
    Classes,
    Html,
    Image,
    ImageMask,
    Object3D,
    Table,
    Video,
)
from artfs.api.values.optional import Foreign
from artfs.api.values.places import JsonValue
from artfs.errors import Unsupported
from tests.support.values import Folder

np = pytest.importorskip("numpy")
PILImage = pytest.importorskip("PIL.Image")


def pixels(*shape: int) -> Foreign:
    return np.arange(int(np.prod(shape)), dtype=np.uint8).reshape(shape)


def written(value: values.Value, folder: Folder) -> JsonValue:
    return folder.document(values.write(value, "v", folder))


@pytest.mark.parametrize(
    ("shape", "file_type", "mode"),
    [
        ((2, 3), None, "L"),
        ((2, 3, 1), None, "L"),
        ((2, 3, 3), None, "RGB"),
        ((2, 3, 4), None, "RGBA"),
        ((2, 3, 4), "jpg", "RGB"),
        ((1, 2, 3, 3), "bmp", "RGB"),
    ],
)
def test_images_of_arrays(shape: tuple[int, ...], file_type: str | None, mode: str) -> None:
    image = Image(pixels(*shape), file_type=file_type)
    assert (image.width, image.height) == (3, 2)
    assert image.image.mode == mode
    assert image.path.suffix == f".{file_type or 'png'}"
    if file_type != "jpg":
        assert np.array_equal(np.asarray(image.image).squeeze(), pixels(*shape).squeeze())


@pytest.mark.parametrize(("shape", "mode"), [((2, 3), "L"), ((1, 2, 3), "L"), ((3, 2, 3), "RGB")])
def test_images_of_tensors(shape: tuple[int, ...], mode: str) -> None:
    torch = pytest.importorskip("torch")
    image = Image(torch.tensor(pixels(*shape) / 1.0, requires_grad=True))
    assert image.image.mode == mode
    channels_last = pixels(*shape).transpose(1, 2, 0) if len(shape) == 3 else pixels(*shape)
    assert np.array_equal(np.asarray(image.image), channels_last.squeeze())


def test_images_of_figures() -> None:
    figures = pytest.importorskip("matplotlib.figure")
    figure = figures.Figure(figsize=(2, 1), dpi=50)
    line = figure.subplots().plot([1, 2])[0]
    for drawn in (figure, line):
        image = Image(drawn)
        assert (image.width, image.height) == (100, 50)


def test_figures_as_jpeg_have_no_transparency() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(2, 1), dpi=50)
    assert Image(figure, file_type="jpg").image.mode == "RGB"


class Tensor:
    """As TensorFlow's and JAX's."""

    def __init__(self, array: Foreign) -> None:
        self._array = array

    def __array__(self, dtype: object = None, copy: object = None) -> Foreign:
        return self._array


def test_tensors_of_all_libraries() -> None:
    picture, frames = pixels(2, 3, 3), pixels(2, 3, 4, 6)
    samples = np.array([0.5, -0.5])
    assert Image(Tensor(picture)) == Image(picture)
    assert Video(Tensor(frames), format="gif") == Video(frames, format="gif")
    assert Audio(Tensor(samples), sample_rate=4) == Audio(samples, sample_rate=4)
    masks = [ImageMask({"mask_data": data}, "m") for data in (Tensor(picture[0]), picture[0])]
    assert masks[0] == masks[1]


def test_numbers_of_numpy_in_documents(ours: Folder) -> None:
    position = {key: np.float32(0.5) for key in ("minX", "maxX", "minY", "maxY")}
    box = {"position": position, "class_id": np.int64(1), "scores": {"p": np.float32(0.25)}}
    image = Image(
        pixels(2, 3),
        boxes={"b": {"box_data": [box], "class_labels": {np.int64(1): "cat"}}},
        classes=[{"id": np.int64(2), "name": "dog"}],
    )
    values.write(Table(["i"], [[image]]), "v", ours)
    read = values.read("v", ours)
    assert isinstance(read, Table)
    assert read.data[0][0].boxes["b"].boxes == [
        {"position": dict.fromkeys(position, 0.5), "class_id": 1, "scores": {"p": 0.25}}
    ]
    assert read.data[0][0].classes.labels() == {1: "cat", 2: "dog"}
    corners = np.zeros((8, 3), np.float32)
    scene = Object3D.from_point_cloud([[1, 2, 3]], [{"corners": corners, "score": np.float32(1)}])
    [box] = json.loads(scene.path.read_bytes())["boxes"]
    assert box == {"corners": corners.tolist(), "score": 1.0}


def test_images_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="dictionaries by name"):
        Image(pixels(2, 3), boxes=[{"box_data": []}])  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="1, 3 or 4 channels"):
        Image(pixels(2, 3, 5))
    with pytest.raises(ValueError, match="file_type must be one of png"):
        Image(pixels(2, 3), file_type="tiff")
    with pytest.raises(TypeError, match="an image cannot be made from int"):
        Image(3)  # type: ignore[arg-type]  # that is the point


def test_an_image_file_keeps_its_name(ours: Folder, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    PILImage.fromarray(pixels(2, 3)).save(path)
    image = Image(path, caption="c")
    assert written(image, ours) == {
        "_type": "image-file",
        "path": f"media/images/{image.sha256[:20]}/cat.png",
        "sha256": image.sha256,
        "caption": "c",
        "format": "png",
        "width": 3,
        "height": 2,
    }
    assert values.read("v", ours) == image


def test_a_file_that_is_in_the_artifact_is_not_added_again(ours: Folder, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    PILImage.fromarray(pixels(2, 3)).save(path)
    ours.add_file(path, "cats/one.png")
    assert written(Image(path), ours)["path"] == "cats/one.png"
    assert ours.media() == []


def test_a_reference_stays_one(ours: Folder) -> None:
    image = Image("s3://bucket/dir/cat.jpeg?versionId=3")
    document = written(image, ours)
    assert document["format"] == "jpeg"
    assert document["path"].endswith("/cat.jpeg")
    assert ours.local(document["path"]).read_text() == "s3://bucket/dir/cat.jpeg?versionId=3"
    with pytest.raises(Unsupported, match="is a reference"):
        _ = image.path


def test_an_image_of_an_image(ours: Folder) -> None:
    first = Image(pixels(2, 3), caption="c", grouping=2, classes=[{"id": 1, "name": "cat"}])
    second = Image(first, masks={"m": {"mask_data": pixels(2, 3)}})
    assert (second.caption, second.grouping, second.sha256) == ("c", 2, first.sha256)
    assert first.masks == {}


def test_an_image_with_masks_needs_classes(ours: Folder, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    PILImage.fromarray(pixels(2, 3)).save(path)
    with pytest.raises(ValueError, match="needs classes"):
        values.write(Image(pixels(2, 3), masks={"m": {"path": path}}), "v", ours)
    labels = {0: "sky"}
    named = Image(pixels(2, 3), masks={"m": {"path": path, "class_labels": labels}})
    assert named.classes == Classes([{"id": 0, "name": "sky"}])
    values.write(named, "v", ours)


def test_an_images_file_is_fetched_when_it_is_used(ours: Folder) -> None:
    mask = {"mask_data": pixels(2, 3)}
    values.write(Image(pixels(2, 3), masks={"m": mask}, caption="c"), "v", ours)
    ours.fetched.clear()
    image = values.read("v", ours)
    assert isinstance(image, Image)
    assert (image.caption, image.width, image.format) == ("c", 3, "png")
    assert ours.fetched == ["v.image-file.json"]
    assert image.image.size == (3, 2)
    assert image.masks["m"].size > 0
    assert image.classes is not None
    assert len(image.classes.class_set) == 6


def test_what_was_read_goes_into_the_next_version_under_its_name(
    ours: Folder, tmp_path: Path
) -> None:
    table = Table(["i"], [[Image(pixels(2, 3))]])
    values.write(table, "v", ours)
    read = values.read("v", ours)
    assert isinstance(read, Table)
    read.add_data(Image(pixels(3, 3)))
    values.write(read, "v", ours)
    assert len(ours.media()) == 2
    copy = Folder(tmp_path / "copy")
    values.write(read, "v", copy)
    assert copy.names("") == ours.names("")


def test_pixels_of_a_column() -> None:
    column = Table(["i"], [[Image(pixels(2, 3))]]).get_column("i", convert_to="numpy")
    assert column.tolist() == [pixels(2, 3).tolist()]


def test_masks_and_boxes_that_cannot_be() -> None:
    with pytest.raises(TypeError, match="two dimensions"):
        ImageMask({"mask_data": pixels(2, 3, 3)}, "m")
    with pytest.raises(TypeError, match="between 0 and 255"):
        ImageMask({"mask_data": np.array([[256]])}, "m")
    with pytest.raises(TypeError, match="class labels"):
        ImageMask({"mask_data": pixels(2, 3), "class_labels": {"0": "x"}}, "m")
    place = {"minX": 0, "maxX": 1, "minY": 0, "maxY": 1}
    for box in (
        {},
        {"position": {"minX": 0}},
        {"position": {"middle": [1], "width": 1, "height": 1}},
        {"position": place, "class_id": "x"},
        {"position": place, "scores": {"x": "y"}},
        {"position": place, "box_caption": 3},
    ):
        with pytest.raises(TypeError):
            BoundingBoxes2D({"box_data": [box]}, "b")


def test_labels_where_none_are_given() -> None:
    place = {"middle": np.array([1, 2]), "width": 1, "height": 1}
    boxes = BoundingBoxes2D({"box_data": [{"position": place, "class_id": 4}]}, "b")
    assert boxes.class_labels == {4: "class_4"}
    assert ImageMask({"mask_data": np.array([[0, 7]])}, "m").class_labels == {
        0: "class_0",
        7: "class_7",
    }


@pytest.mark.parametrize(
    ("samples", "frames"),
    [
        # What libsndfile 1.2, and with it wandb, makes of them.
        (
            [0.0, 0.5, 1.0, -1.0, 2.0, -1 / 65536, 3 / 65536, 0.9999, float("nan")],
            [0, 16384, 32767, -32768, 32767, -1, 1, 32764, 0],
        ),
        (np.array([0.9999, -1.5], dtype=np.float32), [32764, -32768]),
        (np.array([1, -2], dtype=np.int16), [1, -2]),
        (np.array([1 << 16, -1 << 16], dtype=np.int32), [1, -1]),
        (np.array([[1, 2], [3, 4]], dtype=np.int16), [1, 2, 3, 4]),
    ],
)
def test_sounds_of_samples(samples: Foreign, frames: list[int]) -> None:
    audio = Audio(samples, sample_rate=4)
    assert audio.duration == len(samples) / 4
    with wave.open(str(audio.path)) as file:
        assert file.getframerate() == 4
        assert file.getnchannels() == (samples.ndim if hasattr(samples, "ndim") else 1)
        assert np.frombuffer(file.readframes(9), "<i2").tolist() == frames


def test_sounds_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="sample_rate"):
        Audio([0.0])
    with pytest.raises(TypeError, match="int64"):
        Audio([1, 2], sample_rate=4)


def test_pages(ours: Folder, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<head></head>x", "utf-8")
    assert Html(path).html.startswith('<head><base target="_blank">')
    assert Html(io.StringIO("<html>x</html>")).html.startswith("<html><head><base")
    assert Html(str(path), data_is_not_path=True, inject=False).html == str(path)
    plain = Html(path, inject=False)
    assert written(plain, ours)["path"] == f"media/html/{plain.sha256[:20]}/page.html"
    assert Html("x" * 5000 + ".html").html.endswith("x.html")
    with path.open("rb") as file:
        assert Html(file) == Html(path)
    with pytest.raises(ValueError, match="a string or an open file, not int"):
        Html(5)  # type: ignore[arg-type]  # that is the point


def test_a_video_of_frames(ours: Folder) -> None:
    frames = np.zeros((3, 3, 4, 6), np.uint8)
    frames[:, 0] = np.arange(3)[:, None, None] * 100
    video = Video(frames, fps=5, format="gif", caption="c")
    document = written(video, ours)
    assert (document["width"], document["height"], document["caption"]) == (6, 4, "c")
    with PILImage.open(video.path) as image:
        assert image.n_frames == 3
        assert image.info["duration"] == 200
        image.seek(2)
        assert image.convert("RGB").getpixel((0, 0)) == (200, 0, 0)


def test_videos_side_by_side() -> None:
    video = Video(np.zeros((3, 2, 1, 4, 6), np.uint8), format="gif")
    assert (video.width, video.height) == (24, 4)
    frames = np.zeros((2, 2, 1, 4, 6), np.uint8)
    frames[1, 1] = 255
    video = Video(frames, format="gif")
    with PILImage.open(video.path) as image:
        image.seek(1)
        assert np.asarray(image.convert("L"))[:, ::6].tolist() == [[0, 255]] * 4


@pytest.mark.parametrize(("format_", "begins"), [("mp4", 4), ("webm", 0), ("ogg", 0)])
@pytest.mark.parametrize("shape", [(5, 3, 8, 10), (2, 1, 9, 11), (2, 4, 8, 8)])
def test_videos_of_frames_in_other_formats(
    format_: str, begins: int, shape: tuple[int, ...]
) -> None:
    pytest.importorskip("imageio_ffmpeg")
    video = Video(pixels(*shape), fps=25, format=format_)
    assert (video.height, video.width) == shape[2:]
    magic = {"mp4": b"ftyp", "webm": b"\x1aE\xdf\xa3", "ogg": b"OggS"}[format_]
    assert video.path.read_bytes()[begins : begins + 4] == magic
    assert video == Video(pixels(*shape), fps=25, format=format_)


def test_a_video_in_the_format_of_wandb(wandb: ModuleType) -> None:
    for module in ("imageio_ffmpeg", "moviepy"):
        pytest.importorskip(module)
    theirs = wandb.Video(pixels(5, 3, 8, 10), format="mp4")
    assert Video(pixels(5, 3, 8, 10), format="mp4").sha256 == theirs._sha256


def test_videos_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "imageio_ffmpeg", None)
        with pytest.raises(Unsupported, match="of frames as mp4: needs imageio-ffmpeg"):
            Video(np.zeros((3, 3, 4, 6), np.uint8), format="mp4")
    with pytest.raises(ValueError, match="need a format"):
        Video(np.zeros((3, 3, 4, 6), np.uint8))
    with pytest.raises(ValueError, match="one of gif, mp4, webm, ogg, and not 'avi'"):
        Video(tmp_path / "x.avi")
    with pytest.raises(ValueError, match="1, 3 or 4 channels"):
        Video(np.zeros((3, 2, 4, 6), np.uint8), format="mp4")
    with pytest.raises(ValueError, match="four dimensions"):
        Video(np.zeros((4, 6), np.uint8), format="gif")


def test_scenes(ours: Folder, tmp_path: Path) -> None:
    path = tmp_path / "ship.obj"
    path.write_text("v 0 0 0")
    scene = Object3D(path)
    assert written(scene, ours)["path"] == f"media/object3D/{scene.sha256[:20]}/ship.obj"
    with path.open() as file:
        assert Object3D.from_file(file) == scene
    assert Object3D.from_file(io.StringIO("v 0 0 0"), "obj") == scene
    points = Object3D.from_numpy(np.arange(6).reshape(2, 3))
    assert points.path.read_text() == "[[0,1,2],[3,4,5]]"


def test_scenes_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is none of"):
        Object3D(tmp_path / "x.txt")
    with pytest.raises(ValueError, match="file_type"):
        Object3D(io.StringIO("x"))
    with pytest.raises(ValueError, match="3, 4 or 6"):
        Object3D(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="lidar"):
        Object3D({"type": "x"})


def test_temporary_files_go_with_the_value_and_not_before(ours: Folder) -> None:
    page = Html("x")
    path = page.path
    written(page, ours)
    assert path.exists()
    ours.written.clear()
    del page
    gc.collect()
    assert not path.exists()
    read = values.read("v", ours)
    assert isinstance(read, Html)
    assert read.html.endswith("x")
