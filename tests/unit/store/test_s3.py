"""What is particular to S3: retries, lost answers, refusals, parts, listings, settings."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.retries import standard

from artfs import settings
from artfs.errors import (
    AlreadyExists,
    Conflict,
    InvalidValue,
    Refused,
    Unreachable,
    Unsupported,
)
from artfs.store.cached.store import CachedStore
from artfs.store.options import S3Options, StoreOptions
from artfs.store.s3 import listing, series, writer
from artfs.store.s3.location import Location
from artfs.store.s3.store import S3Store
from tests.support.certificates import self_signed
from tests.support.faultproxy import Fault, FaultProxy
from tests.support.mounts import wait_for
from tests.support.s3server import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server

BIG = hashlib.shake_256(b"parts").digest(2 * writer.PART + 1000)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once: which there are is what counts here."""
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0.0)
    monkeypatch.setattr("artfs.store.s3.transfer._FIRST_PAUSE", 0.0)


def open_at(prefix: str = "", **options: object) -> S3Store:
    url = f"s3://{BUCKET}/{prefix or secrets.token_hex(8)}"
    values = S3Options(**{"attempts": 3, **options})  # type: ignore[arg-type]  # each has its type
    return S3Store(url, StoreOptions(values))


@pytest.fixture
def store(s3_proxy: FaultProxy, request: pytest.FixtureRequest) -> Iterator[S3Store]:
    """A store that has been written to, so that the server is known."""
    trouble = (
        request.node.callspec.params.get("trouble") if request.node.nodeid[-1] == "]" else None
    )
    hangs = isinstance(trouble, Fault) and trouble.what == "hang"
    store = open_at(read_timeout=0.3 if hangs else 20.0)
    store.check_writing()
    store.put_if_absent("there", b"0123456789")
    s3_proxy.reset()
    yield store
    store.close()


TROUBLE = [
    Fault("refuse"),
    Fault("hang"),
    Fault("cut answer"),
    Fault("status", status=503, code="SlowDown"),
    Fault("status", status=500, code="InternalError"),
]


def name_of(fault: Fault) -> str:
    return f"{fault.what} {fault.status}"


@pytest.mark.parametrize("trouble", TROUBLE, ids=name_of)
def test_every_request_is_made_again(s3_proxy: FaultProxy, store: S3Store, trouble: Fault) -> None:
    def fail() -> None:
        s3_proxy.fail(trouble, times=1 if trouble.what == "hang" else 2)

    fail()
    assert store.get("there") == b"0123456789"
    fail()
    assert store.open("there").read(3, 4) == b"3456"
    fail()
    assert [o.key for o in store.list("")] == ["there"]
    fail()
    store.put_if_absent("new", b"x")
    with pytest.raises(AlreadyExists):
        store.put_if_absent("new", b"x")
    fail()
    revision = store.compare_and_set("record", b"1", None)
    fail()
    revision = store.compare_and_set("record", b"2", revision)
    assert store.read_record("record") == (b"2", revision)
    fail()
    store.delete("new")
    assert not store.exists("new")


@pytest.mark.parametrize("trouble", TROUBLE, ids=name_of)
def test_it_is_unreachable_in_the_end(s3_proxy: FaultProxy, store: S3Store, trouble: Fault) -> None:
    s3_proxy.fail(trouble, times=3)
    with pytest.raises(Unreachable) as caught:
        store.get("there")
    assert not isinstance(caught.value, Refused)
    assert "there" in caught.value.what
    assert s3_proxy.counts()["GET"] == 3


def test_a_body_that_breaks_off_is_continued(s3_proxy: FaultProxy, store: S3Store) -> None:
    data = hashlib.shake_256(b"body").digest(5 << 20)
    store.put_if_absent("body", data)
    s3_proxy.reset()
    s3_proxy.fail(Fault("cut body", after=2 << 20), times=1)
    s3_proxy.fail(Fault("cut body", after=1 << 20), times=1)
    assert store.reader("body").read(100, (5 << 20) - 100) == data[100:]
    assert s3_proxy.received() < 6 << 20
    s3_proxy.fail(Fault("cut body", after=5), times=2)
    assert store.get("body") == data
    s3_proxy.fail(Fault("cut body", after=5), times=3)
    with pytest.raises(Unreachable):
        store.get("body")


@pytest.mark.parametrize(
    ("trouble", "read_timeout"),
    [
        (Fault("hang"), 0.5),
        (Fault("hang body", after=300_000), 0.5),
        (Fault("hang body", after=300_000), 60.0),
    ],
    ids=["no answer", "no more", "more after all"],
)
def test_a_request_that_nobody_waits_for_ends(
    s3_proxy: FaultProxy, tmp_path: Path, trouble: Fault, read_timeout: float
) -> None:
    """Its place is free at once; it is not made again, and its connection is closed."""
    far = open_at(read_timeout=read_timeout)
    data = hashlib.shake_256(b"body").digest(2 << 20)
    for key in ("packs/a", "packs/b"):
        far.put_if_absent(key, data)
    store = CachedStore(far, tmp_path / "id", "packs/", lambda _: False, size=1 << 30, requests=1)
    s3_proxy.reset()
    s3_proxy.fail(trouble, times=1)
    arrival = store.reader("packs/a").fetch(0, 2 << 20)
    assert arrival is not None
    wait_for(lambda: not s3_proxy.pending(), what="the request")
    arrival.cancel()
    assert store.reader("packs/b").read(0, 10) == data[:10]
    if read_timeout == 60.0:
        s3_proxy.heal()
    wait_for(lambda: fetching() < 2, what="end of the thread")
    s3_proxy.heal()
    wait_for(lambda: s3_proxy.connections() == 1, what="end of the connection")
    assert [r.target[-1] for r in s3_proxy.requests()] == ["a", "b"]
    store.close()


def fetching() -> int:
    return sum(thread.name == "artfs-fetch" for thread in threading.enumerate())


def test_nothing_is_asked_for_behind_the_end(s3_proxy: FaultProxy, tmp_path: Path) -> None:
    """Each answer says how large the object is."""
    far = open_at()
    far.put_if_absent("packs/a", b"x" * 200_000)
    store = CachedStore(far, tmp_path / "id", "packs/", lambda _: False, size=1 << 30, requests=1)
    s3_proxy.reset()
    reader = store.reader("packs/a")
    assert reader.read(0, 10) == b"x" * 10
    reader.prefetch(1 << 20, 1 << 20)
    assert reader.read(199_990, 1000) == b"x" * 10
    assert reader.read(1 << 20, 1000) == b""
    assert s3_proxy.counts().total() == 2
    store.close()


def test_own_write_is_known_again(s3_proxy: FaultProxy, store: S3Store) -> None:
    s3_proxy.fail(Fault("cut answer", method="PUT"), times=1)
    store.put_if_absent("one", b"same")
    s3_proxy.fail(Fault("cut answer", method="PUT"), times=1)
    revision = store.compare_and_set("two", b"1", None)
    s3_proxy.fail(Fault("cut answer", method="PUT"), times=1)
    revision = store.compare_and_set("two", b"2", revision)
    assert store.read_record("two") == (b"2", revision)
    store.check_writing()
    store.delete_record("two", revision)


def test_the_write_of_another_is_not_ours(s3_proxy: FaultProxy, store: S3Store) -> None:
    """Also where it wrote the same bytes, and our first attempt got lost."""
    store.put_if_absent("one", b"same")
    s3_proxy.fail(Fault("refuse", method="PUT"), times=1)
    with pytest.raises(AlreadyExists):
        store.put_if_absent("one", b"same")
    revision = store.compare_and_set("two", b"1", None)
    store.compare_and_set("two", b"2", revision)
    s3_proxy.fail(Fault("refuse", method="PUT"), times=1)
    with pytest.raises(Conflict):
        store.compare_and_set("two", b"2", revision)


def test_deletion_whose_answer_got_lost(s3_proxy: FaultProxy, store: S3Store) -> None:
    revision = store.compare_and_set("one", b"1", None)
    store.delete_record("one", revision)
    revision = store.compare_and_set("one", b"1", None)
    s3_proxy.fail(Fault("cut answer", method="DELETE"), times=1)
    store.delete_record("one", revision)
    with pytest.raises(Conflict):
        store.delete_record("one", revision)


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
def test_racing_writes_on_aws(s3_proxy: FaultProxy, store: S3Store, code: str) -> None:
    """AWS may answer 409 while another write is under way, and wants the request again."""
    race = Fault("status", method="PUT", status=409, code=code)
    s3_proxy.fail(race, times=2)
    store.put_if_absent("one", b"1")
    s3_proxy.fail(race, times=3)
    with pytest.raises(Unreachable):
        store.compare_and_set("two", b"2", None)


REFUSALS = [
    (403, "InvalidAccessKeyId", "does not know this access key"),
    (403, "SignatureDoesNotMatch", "secret access key is wrong"),
    (400, "ExpiredToken", "expired"),
    (403, "AccessDenied", "access denied"),
    (404, "NoSuchBucket", "no such bucket"),
    (400, "AuthorizationHeaderMalformed", "the region is wrong; expecting 'eu-west-1'"),
    (403, "RequestTimeTooSkewed", "clock is wrong"),
    (403, "SomethingNew", "the server answers SomethingNew: the region is wrong"),
]


@pytest.mark.parametrize(("status", "code", "why"), REFUSALS, ids=[code for _, code, _ in REFUSALS])
def test_refusals_are_said_at_once(
    s3_proxy: FaultProxy, store: S3Store, status: int, code: str, why: str
) -> None:
    message = "the region is wrong; expecting 'eu-west-1'"
    calls: list[Callable[[], object]] = [
        lambda: store.get("there"),
        lambda: store.info("there"),
        lambda: store.open("there"),
        lambda: store.reader("there").read(0, 1),
        lambda: list(store.list("")),
        lambda: store.list_names(""),
        lambda: store.put_if_absent("new", b"x"),
        lambda: store.compare_and_set("new", b"x", None),
        lambda: store.delete("there"),
    ]
    s3_proxy.fail(Fault("status", status=status, code=code, message=message), times=len(calls))
    for call in calls:
        with pytest.raises(Refused, match=why):
            call()
    assert sum(s3_proxy.counts().values()) == len(calls)


def test_real_refusals(s3: S3Server, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="bucket 'no-such-bucket': no such bucket"):
        S3Store("s3://no-such-bucket/x").get("there")
    with pytest.raises(Refused, match="no such bucket"):
        S3Store("s3://no-such-bucket/x").put_if_absent("new", b"x")
    with monkeypatch.context() as patch:
        hour = timedelta(hours=1)
        patch.setattr("botocore.auth.get_current_datetime", lambda: datetime.now(UTC) - hour)
        with pytest.raises(Refused, match="clock is wrong"):
            open_at().get("there")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Refused, match="secret access key is wrong"):
        open_at().get("there")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    with pytest.raises(Refused, match="does not know this access key"):
        open_at().get("there")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(Refused, match="no credentials"):
        open_at().get("there")
    with pytest.raises(InvalidValue, match="nobody"):
        open_at(profile="nobody")


def ignoring(store: S3Store, *headers: str) -> S3Store:
    """The store as on a server that does not look at these headers."""

    def drop(params: dict[str, dict[str, str]], **_: object) -> None:
        for header in headers:
            params["headers"].pop(header, None)

    store._client.meta.events.register_last("before-call.s3", drop)
    return store


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_server_that_ignores_conditions_is_found_out(s3: S3Server, header: str) -> None:
    url = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    bad = ignoring(S3Store(url), header)
    writes: list[Callable[[], object]] = [
        bad.check_writing,
        lambda: bad.put_if_absent("a", b""),
        lambda: bad.compare_and_set("a", b"", None),
        lambda: bad.writer("a"),
    ]
    for write in writes:
        with pytest.raises(Unsupported, match=f"in spite of {header}") as caught:
            write()
        assert caught.value.what == url
    good = S3Store(url)
    assert list(good.list("")) == []
    good.put_if_absent("a", b"1")
    assert bad.get("a") == b"1"


def test_server_that_ignores_conditions_of_deletions(s3: S3Server) -> None:
    store = open_at()

    def drop(model: object, params: dict[str, dict[str, str]], **_: object) -> None:
        if getattr(model, "name", "") == "DeleteObject":
            params["headers"].pop("If-Match", None)

    store._client.meta.events.register_last("before-call.s3", drop)
    revision = store.compare_and_set("a", b"1", None)
    with pytest.raises(Unsupported, match="deletes objects in spite of If-Match"):
        store.delete_record("a", revision)
    assert store.get("a") == b"1"


def test_what_was_found_out_is_remembered(s3_proxy: FaultProxy, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    options = StoreOptions(memory=tmp_path / "memory")
    S3Store(url, options).check_writing()
    s3_proxy.reset()
    store = S3Store(url, options)
    store.put_if_absent("a", b"")
    store.put_if_absent("b", b"")
    assert s3_proxy.counts() == {"PUT": 2}
    for mark in (tmp_path / "memory").iterdir():
        os.utime(mark, (0, 0))
    S3Store(url, options).check_writing()
    assert s3_proxy.counts()["PUT"] > 2


# Uploads


def upload(store: S3Store, key: str, data: bytes) -> None:
    writer = store.writer(key)
    for at in range(0, len(data), 3 << 20):
        writer.write([data[at : at + (3 << 20)]])
    writer.commit()


def unfinished(store: S3Store) -> list[str]:
    found = store._client.list_multipart_uploads(Bucket=BUCKET)
    prefix = store._transfer.location.prefix
    return [u["Key"] for u in found.get("Uploads", ()) if u["Key"].startswith(prefix)]


def parts(proxy: FaultProxy) -> list[str]:
    return [r.target.partition("partNumber=")[2][0] for r in proxy.requests() if r.method == "PUT"]


@pytest.mark.parametrize(
    "trouble",
    [Fault("refuse"), Fault("cut answer"), Fault("status", status=400, code="BadDigest")],
    ids=name_of,
)
def test_a_part_that_fails_is_sent_again_alone(
    s3_proxy: FaultProxy, store: S3Store, trouble: Fault
) -> None:
    trouble = replace(trouble, method="PUT", holds="partNumber=2")
    s3_proxy.fail(trouble, times=2)
    upload(store, "packs/aa/big", BIG)
    assert store.get("packs/aa/big") == BIG
    assert sorted(parts(s3_proxy)) == ["1", "2", "2", "2", "3"]
    assert unfinished(store) == []


def test_uploads_carry_checksums(s3_proxy: FaultProxy, store: S3Store) -> None:
    store.put_if_absent("small", b"small")
    store.compare_and_set("record", b"1", None)
    upload(store, "big", BIG)
    upload(store, "packs/small", b"small")
    sent = [r.headers for r in s3_proxy.requests() if r.method == "PUT"]
    assert len(sent) == 6
    assert all("x-amz-checksum-sha256" in headers for headers in sent)
    digest = hashlib.sha256(b"small").digest()
    for key, expected in (("small", base64.b64encode(digest).decode()), ("big", None)):
        head = store._client.head_object(**store._transfer.where(key), ChecksumMode="ENABLED")
        assert head["ChecksumSHA256"] == expected or (expected is None and head["ChecksumSHA256"])


def test_what_was_damaged_on_its_way_is_sent_again(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server compares what has come with the checksum."""
    bodies = [b"damagad", b"damaged"]

    def damage(params: dict[str, Any], **_: object) -> None:
        params["body"] = bodies.pop(0)

    store._client.meta.events.register_first("before-call.s3.PutObject", damage)
    store.put_if_absent("one", b"damaged")
    assert not bodies
    assert store.get("one") == b"damaged"
    bodies += [b"damagad"] * 3
    with pytest.raises(Unreachable, match=r"does not match|checksum|Digest"):
        store.put_if_absent("two", b"damaged")
    assert not store.exists("two")


def test_a_part_that_gets_no_thread_fails_the_upload(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    for _ in range(writer.PARTS_AT_ONCE + 1):
        uploading = store.writer("large")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(Unreachable, match="no more threads"):
                uploading.write([bytes(writer.PART + 1)])
    assert not store.exists("large")


def test_upload_that_fails_leaves_nothing(s3_proxy: FaultProxy, store: S3Store) -> None:
    denied = Fault("status", method="PUT", holds="partNumber=2", status=403, code="AccessDenied")
    s3_proxy.fail(denied, times=1)
    with pytest.raises(Refused):
        upload(store, "big", BIG)
    assert unfinished(store) == []
    writer = store.writer("big")
    writer.write([BIG])
    assert len(unfinished(store)) == 1
    writer.abort()
    writer.abort()
    assert unfinished(store) == []
    with pytest.raises(ValueError, match="big"):
        writer.write([b""])
    assert not store.exists("big")


def test_upload_to_a_server_that_goes_away(s3_proxy: FaultProxy, store: S3Store) -> None:
    writer = store.writer("big")
    writer.write([BIG])
    s3_proxy.down()
    with pytest.raises(Unreachable):
        writer.commit()
    s3_proxy.up()
    assert not store.exists("big")
    upload(store, "big", BIG)
    assert len(unfinished(store)) == 1  # `sweep` has it when it is a week old


def test_completion_whose_answer_got_lost(s3_proxy: FaultProxy, store: S3Store) -> None:
    s3_proxy.fail(Fault("cut answer", method="POST", holds="uploadId="), times=1)
    upload(store, "big", BIG)
    assert store.get("big") == BIG


def test_old_unfinished_uploads_are_dropped(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = secrets.token_hex(8)
    unfinished_writer = open_at(prefix).writer("big")
    unfinished_writer.write([BIG])
    store = open_at(prefix)
    store.check_writing()
    assert len(unfinished(store)) == 1
    monkeypatch.setattr(writer, "_STALE", timedelta(seconds=-60))
    store = open_at(prefix)
    store.check_writing()
    assert unfinished(store) == []


def test_a_bucket_is_not_swept_of_what_others_upload(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = f"whole-{secrets.token_hex(8)}"
    s3.make_bucket(bucket)
    monkeypatch.setattr(writer, "_STALE", timedelta(seconds=-60))
    store = S3Store(f"s3://{bucket}")
    upload_id = store._client.create_multipart_upload(Bucket=bucket, Key="alien")["UploadId"]
    store.check_writing()
    left = store._client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [(one["Key"], one["UploadId"]) for one in left] == [("alien", upload_id)]


# Listings


def test_listing_of_more_than_a_page(s3: S3Server) -> None:
    store = open_at()
    names = [f"packs/{n % 7:02}/{n:04}" for n in range(1050)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put_if_absent(name, b""), names))
    assert [o.key for o in store.list("packs/")] == sorted(names)
    assert store.list_names("packs/") == [f"{n:02}" for n in range(7)]
    assert store.list_names("packs/03/") == [n[-4:] for n in sorted(names) if "/03/" in n]


def test_listings_are_sorted_across_pages(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """SeaweedFS lists o/a/b before o/a-, and pages end anywhere."""
    monkeypatch.setattr(listing, "_PAGE", 2)
    names = ["o/a/b", "o/a/c", "o/a/d-/x", "o/a/d/x", "o/a-/a", "o/a-/b", "o/a.x", "o/a0", "o/b"]
    for name in names:
        store.put_if_absent(name, b"")
    assert [o.key for o in store.list("o/")] == sorted(names)
    assert [o.key for o in store.list("")] == [*sorted(names), "there"]
    assert store.list_names("o/") == ["a", "a-", "a.x", "a0", "b"]


def test_what_may_be_an_empty_directory_is_asked_for_one_object(
    s3_proxy: FaultProxy, store: S3Store
) -> None:
    for n in range(5):
        store.put_if_absent(f"o/d{n}/x", b"")
    s3_proxy.reset()
    assert store.list_names("o/") == [f"d{n}" for n in range(5)]
    asked = [request.target for request in s3_proxy.requests()]
    assert len(asked) == 6
    assert sum("max-keys=3" in target for target in asked) == 5


def test_what_is_no_key_is_passed_over(store: S3Store) -> None:
    """Directory markers, and what other programs put below the prefix."""
    prefix = store._transfer.location.prefix
    for name in ("folder/", "folder/empty/", ".tmp/x", "ä"):
        store._client.put_object(Bucket=BUCKET, Key=prefix + name, Body=b"")
    assert [o.key for o in store.list("")] == ["there"]
    assert store.list_names("") == ["there"]
    assert store.list_names("folder/") == []


@pytest.mark.parametrize("length", [1, 2, 3, 4, 9, 10, 24, 25, 70])
def test_the_end_of_a_series_is_found_by_pages_and_probes(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(series, "_PAGE", 3)
    monkeypatch.setattr(series, "_PROBES", 4)
    for n in range(length):
        store.put_if_absent(f"versions/{n:010}.json", b"")
    for after in {-1, 0, length // 2, length - 1}:
        assert store.last_of("versions/{:010}.json".format, after) == length - 1
        for hint in {0, length // 3, length - 1, length}:
            assert store.last_of("versions/{:010}.json".format, after, hint) == length - 1


def test_the_end_of_a_series_takes_a_round_trip_or_two(
    s3_proxy: FaultProxy, store: S3Store
) -> None:
    for n in range(5):
        store.put_if_absent(f"v/{n}", b"x")
    s3_proxy.reset()
    assert store.last_of("v/{}".format) == 4
    assert s3_proxy.counts() == {"GET": 1}
    assert store.last_of("v/{}".format, 4) == 4
    assert s3_proxy.counts() == {"GET": 2}
    assert store.last_of("v/{}".format, 2) == 4
    assert s3_proxy.counts() == {"GET": 4}
    assert store.last_of("v/{}".format, hint=3) == 4
    assert s3_proxy.counts() == {"GET": 5}
    assert store.last_of("v/{}".format, hint=9) == 4  # there is none of this number
    assert s3_proxy.counts() == {"GET": 7}


def test_the_end_of_a_series_among_other_names(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What copying programs and editors have left there takes room in listings."""
    monkeypatch.setattr(series, "_PAGE", 3)
    for n in range(7):
        store.put_if_absent(f"v/{n}.json", b"x")
    for name in ("v/.0.json.a", "v/.0.json.b", "v/.0.json.c", "v/2.json~", "v/3.json.a"):
        store.put_if_absent(name, b"x")
    for hint in range(-1, 9):
        assert store.last_of("v/{}.json".format, hint=hint) == 6


# Where it is, and how it is reached


def test_locations() -> None:
    assert Location.parse("s3://bucket") == Location("bucket", "")
    assert Location.parse("S3://bucket/a%20b/c/") == Location("bucket", "a b/c/")
    assert Location.parse("s3://bucket/a/b").url == "s3://bucket/a/b"
    assert Location.parse("s3://bucket/").url == "s3://bucket"
    for bad in ("s3://", "s3://Bucket/x", "s3://b", "s3://bucket/a//b", "s3://bucket/../x",
                "s3://bucket/" + "x" * 300, "s3://bucket/.tmp"):  # fmt: skip
        with pytest.raises(InvalidValue):
            Location.parse(bad)


def url_of(**options: object) -> str:
    store = open_at("prefix", **options)
    return store._client.generate_presigned_url("get_object", store._transfer.where("key"))


def test_how_the_bucket_is_named(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{s3.endpoint}/{BUCKET}/prefix/key"
    assert url_of().startswith(path)
    assert url_of(endpoint="http://s3.example").startswith(f"http://s3.example/{BUCKET}/prefix")
    virtual = url_of(endpoint="http://s3.example", path_style=False)
    assert virtual.startswith(f"http://{BUCKET}.s3.example/prefix/key")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    aws = url_of(region="eu-west-1")
    assert aws.startswith(f"https://{BUCKET}.s3.")
    assert url_of(path_style=True).startswith(f"https://s3.amazonaws.com/{BUCKET}/prefix/key")


def test_settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = home / "config" / "artfs" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        's3_endpoint = "http://one"\ns3_region = "mars-1"\ns3_path_style = false\n'
        "s3_connect_timeout = 1.5\ns3_attempts = 7\n"
    )
    monkeypatch.setenv("ARTFS_S3_ENDPOINT", "http://two")
    monkeypatch.setenv("ARTFS_S3_READ_TIMEOUT", "2")
    monkeypatch.setenv("ARTFS_S3_CONNECTIONS", "5")
    monkeypatch.setenv("ARTFS_S3_CA_BUNDLE", "/ca.pem")
    monkeypatch.setenv("ARTFS_S3_PROXY", "http://proxy:1")
    monkeypatch.setenv("ARTFS_S3_PROFILE", "p")
    assert settings.load().options == StoreOptions(
        S3Options("http://two", "mars-1", "p", False, "/ca.pem", "http://proxy:1", 1.5, 2.0, 7, 5),
        home / "cache" / "artfs" / "servers",
    )
    for name, bad in (("ATTEMPTS", "0"), ("ATTEMPTS", "x"), ("READ_TIMEOUT", "-1"),
                      ("PATH_STYLE", "maybe")):  # fmt: skip
        monkeypatch.setenv(f"ARTFS_S3_{name}", bad)
        with pytest.raises(InvalidValue, match=f"s3_{name.lower()}"):
            settings.load()
        monkeypatch.delenv(f"ARTFS_S3_{name}")


def test_by_way_of_a_proxy(s3: S3Server) -> None:
    with FaultProxy(s3.port) as proxy:
        store = open_at(proxy=proxy.url, endpoint=s3.endpoint)
        store.put_if_absent("a", b"1")
        assert store.get("a") == b"1"
        assert all(r.target.startswith(s3.endpoint) for r in proxy.requests())
        assert proxy.counts()["PUT"]
        store.close()


def test_a_ca_bundle_vouches_for_the_server(s3: S3Server, tmp_path: Path) -> None:
    certificate, tls = self_signed(tmp_path)
    with FaultProxy(s3.port, tls=tls) as proxy:
        store = open_at(endpoint=proxy.url, ca_bundle=str(certificate))
        store.put_if_absent("a", b"1")
        assert store.get("a") == b"1"
        store.close()
        proxy.reset()
        with pytest.raises(Refused, match="certificate verify failed"):
            open_at(endpoint=proxy.url).get("a")
        assert proxy.requests() == []


def test_a_profile_has_credentials_and_region(
    s3_proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}")
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    config.write_text("[profile tests]\nregion = mars-1\n")
    credentials.write_text(
        f"[tests]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    open_at(profile="tests").put_if_absent("a", b"1")
    assert "/mars-1/s3/" in s3_proxy.requests()[-1].headers["authorization"]
    open_at(profile="tests", region="venus-1").put_if_absent("a", b"1")
    assert "/venus-1/s3/" in s3_proxy.requests()[-1].headers["authorization"]
    with pytest.raises(Refused, match="does not know this access key"):
        open_at().get("a")


def test_connections_ca_and_bad_endpoint(s3: S3Server) -> None:
    config = vars(open_at(connections=3)._client.meta.config)
    assert config["max_pool_connections"] == 3
    with pytest.raises(InvalidValue, match="/no-such: no such file"):
        open_at(ca_bundle="/no-such")
    with pytest.raises(InvalidValue, match="endpoint"):
        open_at(endpoint="no url")
