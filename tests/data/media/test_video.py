"""Frames of films that PyAV wrote are taken evenly in time, with the sound on the same clock."""

from __future__ import annotations

import dataclasses
import gc
import io
import json
import random
import tracemalloc
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from deepseek.data.media.source import BrokenError, Limits, Source
from deepseek.data.media.video import VideoReader
from deepseek.errors import InputError, TooLargeError
from support.rows import films

EVEN = [k / 25 for k in range(50)]
FINE = {"qmax": "2"}
FORMS = [
    {}, {"form": "webm", "codec": "libvpx-vp9"}, {"form": "webm", "codec": "libvpx", "options": {"lag-in-frames": "9"}},
    {"form": "matroska"}, {"form": "mpegts"},
    {"form": "mpegts", "options": {"g": "5", "bf": "3"}}, {"form": "avi", "codec": "mpeg4", "options": FINE},
    {"form": "mov", "codec": "mpeg4", "options": FINE},
    {"options": {"g": "5", "bf": "3"}}, {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
]  # fmt: skip


def source(data: bytes, limits: Limits | None = None) -> Source:
    return Source("films/3.mp4 (row 3, column 'film')", (("films/3.mp4", data),), limits or Limits())


def levels(frames: Any) -> Any:
    return frames.astype(float).mean((1, 2, 3))


def broken(data: bytes, reader: VideoReader | None = None) -> str:
    with pytest.raises(BrokenError) as caught:
        (reader or VideoReader(4, films.SIZE)).read(source(data))
    assert caught.value.expected
    assert caught.value.fix
    assert "films/3.mp4 (row 3, column 'film')" in str(caught.value)
    return str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())) or "mp4")
@pytest.mark.parametrize("num_frames", [1, 5, 50, 70])
def test_frames_are_those_shown_at_even_moments(form: dict[str, Any], num_frames: int) -> None:
    data = films.film(EVEN, lambda k: films.grey(5 * k), **form)
    frames = VideoReader(num_frames, films.SIZE).read(source(data))
    assert frames.shape == (num_frames, 3, *films.SIZE)
    assert frames.dtype == np.uint8
    moments = (np.arange(num_frames) + 0.5) * 2.0 / num_frames
    assert np.abs(levels(frames) - 5 * np.floor(moments * 25 + 1e-6)).max() <= 4  # codecs round


@pytest.mark.parametrize("form", [{}, {"form": "webm", "codec": "libvpx-vp9"}], ids=["mp4", "webm"])
def test_a_changing_rate_is_sampled_by_time_and_not_by_number(form: dict[str, Any]) -> None:
    times = [k / 50 for k in range(50)] + [1 + k / 2 for k in range(6)]  # 50 frames in a second, then 2 a second
    data = films.film(times, lambda k: films.grey(4 * k), **form)
    end = 3.5 + (0.5 if form == {} else 0.04)  # how long the last is shown is the container's
    reader = VideoReader(8, films.SIZE)
    shown = np.round(levels(reader.read(source(data))) / 4)
    expected = [np.searchsorted(times, moment, "right") - 1 for moment in reader.times(end)]
    assert np.abs(shown - expected).max() <= 1
    assert (shown >= 50).sum() >= 5  # by number it would be one


def test_the_first_seconds_alone_may_be_asked_for() -> None:
    data = films.film(EVEN, lambda k: films.grey(5 * k))
    shown = levels(VideoReader(4, films.SIZE, seconds=0.4).read(source(data)))
    assert np.abs(shown - 5 * np.array([1, 3, 6, 8])).max() <= 2.6


@pytest.mark.parametrize("start", [0.0, 7.0])
@pytest.mark.parametrize("form", [{}, {"form": "webm", "codec": "libvpx-vp9"}, {"form": "mpegts"}])
def test_the_sound_is_on_the_clock_of_the_frames(form: dict[str, Any], start: float) -> None:
    rng = np.random.default_rng(0)
    heard = np.zeros(96_000, np.float32)
    heard[48_000:52_800] = 0.3 * rng.standard_normal(4_800)  # from 1.0 to 1.1 s
    data = films.film(
        [start + t for t in EVEN], lambda k: films.grey(200 if 25 <= k < 28 else 10), sound=heard, sound_start_s=start,
        **form,
    )  # fmt: skip
    reader = VideoReader(100, films.SIZE, sound_rate=16_000)
    sound = reader.read_sound(source(data))
    assert sound is not None
    assert sound.dtype == np.float32
    assert abs(sound.shape[1] - 32_000) <= 640
    loud = np.flatnonzero(np.abs(sound[0]) > 0.1)
    assert abs(loud[0] / 16_000 - 1.0) < 0.01
    assert abs(loud[-1] / 16_000 - 1.1) < 0.01
    bright = np.flatnonzero(levels(reader.read(source(data))) > 100)
    assert abs(bright[0] * sound.shape[1] / 16_000 / 100 - 1.0) < 0.04


def test_sound_that_begins_late_and_pauses_stands_where_it_was_heard() -> None:
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 48_000)).astype(np.float32)
    data = films.film(EVEN, lambda k: films.grey(5 * k), sound=tone, sound_start_s=0.8, form="matroska")
    sound = VideoReader(4, films.SIZE, sound_rate=8_000).read_sound(source(data))
    assert sound is not None
    loud = np.flatnonzero(np.abs(sound[0]) > 0.25)
    assert (loud[0] / 8_000, loud[-1] / 8_000) == pytest.approx((0.8, 1.3), abs=0.03)
    assert not sound[0, : int(0.7 * 8_000)].any()
    power = np.abs(np.fft.rfft(sound[0, 6_800:10_000]))
    assert abs(np.argmax(power) * 8_000 / 3_200 - 440) < 4


def test_a_pause_in_the_recording_is_silent_and_as_long_as_it_was() -> None:
    noise = (0.3 * np.random.default_rng(0).standard_normal(28_800)).astype(np.float32)
    data = films.film(EVEN, lambda k: films.grey(5 * k), sound=noise, pause_s=0.8, form="matroska")
    sound = VideoReader(4, films.SIZE, sound_rate=8_000).read_sound(source(data))
    assert sound is not None
    loud = np.abs(sound[0]).reshape(-1, 800).mean(1) > 0.05  # tenths of a second
    assert loud[:3].all()
    assert not loud[4:11].any()
    assert loud[11:14].all()


def test_sound_that_changes_from_mono_to_stereo_goes_on() -> None:
    noise = (0.3 * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32)
    data = b"".join(
        films.film(
            [start + k / 25 for k in range(25)], lambda k: films.grey(5 * k), sound=noise, sound_start_s=start,
            layout=layout, form="mpegts", options={"bf": "0"},
        )
        for start, layout in ((0.0, "mono"), (1.0, "stereo"))
    )  # fmt: skip
    sound = VideoReader(4, films.SIZE, sound_rate=8_000).read_sound(source(data))
    assert sound is not None
    assert abs(sound.shape[1] - 16_000) < 200
    loud = np.abs(sound[0, :15_000]).reshape(-1, 1_000).mean(1) > 0.05  # eighths of a second, none of them silent
    assert loud.all()


def test_a_film_without_sound_has_none() -> None:
    data = films.film(EVEN, lambda k: films.grey(5 * k))
    assert VideoReader(4, films.SIZE, sound_rate=16_000).read_sound(source(data)) is None
    loud = films.film(EVEN, lambda k: films.grey(5 * k), sound=np.zeros(96_000, np.float32))
    assert VideoReader(4, films.SIZE).read_sound(source(loud)) is None


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_frames_stand_upright(turn: int) -> None:
    picture = films.grey(0)
    picture[:24, :32] = 255  # bright at the upper left, as stored
    data = films.film(EVEN, lambda k: picture, turn=turn)
    turned = np.rot90(picture, turn // 90).transpose(2, 0, 1)
    frames = VideoReader(2, turned.shape[1:]).read(source(data))
    assert np.abs(frames[0].astype(float) - turned).mean() < 12


def test_scaling_is_over_all_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 1)).repeat(3, 2).astype(np.uint8)
    data = films.film([0.0, 1.0], lambda k: noise, options={"crf": "1"})
    assert VideoReader(1, (24, 32)).read(source(data)).std() < 12  # picked pixels would keep about 70


@pytest.mark.slow
def test_few_decoded_frames_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = films.film([k / 25 for k in range(100)], lambda k: np.full((720, 1280, 3), k, np.uint8))
    reader = VideoReader(64, (32, 32))
    most, num_scaled, scale_frame = 0, 0, VideoReader._scale_frame

    def count_frames(self: VideoReader, *arguments: Any) -> Any:
        nonlocal most, num_scaled
        num_scaled += 1
        if num_scaled % 16 == 0:  # to look through all objects of a long run takes a second
            # By type(), for a proxy may stand for what is gone.
            most = max(most, sum(issubclass(type(each), av.VideoFrame) for each in gc.get_objects()))
        return scale_frame(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(VideoReader, "_scale_frame", count_frames)
        reader.read(source(data))
    assert 0 < most <= 6  # one or two here, and those that the codec gives out of order
    tracemalloc.start()  # by itself: to list all objects takes memory, too
    reader.read(source(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_what_is_no_film_is_named() -> None:
    assert "is no film" in broken(b"a text file named .mp4" * 50)
    assert "is no film" in broken(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n")
    assert "is no film" in broken(b"ffconcat version 1.0\nfile other.mp4\n")
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8_000, 0, "NONE", ""))
        sound.writeframes(bytes(16_000))
    assert "is no film" in broken(file.getvalue())
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        track = container.add_stream("aac", rate=48_000)
        track.layout = "mono"
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        piece.rate = 48_000
        container.mux(track.encode(piece))
        container.mux(track.encode())
    assert "no pictures that move" in broken(file.getvalue())


def test_a_playlist_behind_the_signature_of_a_film_opens_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "other.mp4").write_bytes(films.film(EVEN, lambda k: films.grey(5 * k)))
    for head in (b"\0\0\0\x18ftypisom", b"\0\0\1\xba", b"FLV\1"):
        broken(head + f"\n#EXTM3U\n#EXTINF:2,\n{tmp_path}/other.mp4\n#EXT-X-ENDLIST\n".encode())


def test_a_film_that_is_cut_off_is_named() -> None:
    sound = np.zeros(96_000, np.float32)
    noise = np.random.default_rng(0).integers(0, 256, (50, *films.SIZE, 3), np.uint8)
    paint = noise.__getitem__
    late = films.film(EVEN, paint, sound=sound)
    early = films.film(EVEN, paint, sound=sound, container_options={"movflags": "faststart"})
    for data in (late, early, films.film(EVEN, paint, form="webm", codec="libvpx")):
        for share in (0.02, 0.3, 0.6):
            broken(data[: int(len(data) * share)])
    assert "of 50 packets" in broken(early[: len(early) * 2 // 3])
    webm = films.film(EVEN, paint, form="webm", codec="libvpx")
    assert "says that it lasts 2.0 s, and ends after" in broken(webm[: len(webm) // 2])


def test_a_film_without_frames_is_named() -> None:
    empty = films.film([], lambda k: films.grey(0), form="webm", codec="libvpx")
    assert "no frame" in broken(empty) or "cut off" in broken(empty)


def test_limits_hold_whatever_the_container_says() -> None:
    data = films.film(EVEN, lambda k: films.grey(5 * k))
    reader = VideoReader(4, films.SIZE)
    with pytest.raises(TooLargeError, match="64 x 48 pixels a frame"):
        reader.read(source(data, Limits(max_pixels=3_000)))
    with pytest.raises(TooLargeError, match=r"64 x 48 pixels a frame.*63 along an axis"):
        reader.read(source(data, Limits(max_side=63)))
    with pytest.raises(TooLargeError, match="more than 10 frames"):
        reader.read(source(data, Limits(max_frames=10)))
    with pytest.raises(TooLargeError, match=r"lasts 2\.0 s"):
        reader.read(source(data, Limits(max_seconds=1.5)))
    # a webm that says it is short: the 8 bytes of its duration, 2000.0 ms, become 10 ms
    webm = films.film(EVEN, lambda k: films.grey(5 * k), form="webm", codec="libvpx")
    place = webm.index(b"\x44\x89\x88") + 3
    short = webm[:place] + np.array(10.0, ">f8").tobytes() + webm[place + 8 :]
    with pytest.raises(TooLargeError, match=r"lasts 2\.0 s"):
        reader.read(source(short, Limits(max_seconds=1.5)))
    assert np.array_equal(reader.read(source(short)), reader.read(source(webm)))
    long = webm[:place] + np.array(3.6e7, ">f8").tobytes() + webm[place + 8 :]
    assert "says that it lasts 36,000.0 s, and ends after 2.0 s" in broken(long)


@pytest.mark.slow
@pytest.mark.parametrize("form", [{}, {"form": "webm", "codec": "libvpx-vp9"}, {"form": "avi", "codec": "mpeg4"}])
def test_damaged_bytes_never_end_in_another_error(form: dict[str, Any]) -> None:
    data = films.film(EVEN[:10], lambda k: films.grey(5 * k), sound=np.zeros(9_600, np.float32), **form)
    reader = VideoReader(3, (8, 8), sound_rate=16_000)
    random.seed(0)
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(random.randint(1, 10)):
            changed[random.randrange(12, len(data))] = random.randrange(256)
        try:
            frames, sound = reader.read(source(bytes(changed))), reader.read_sound(source(bytes(changed)))
        except (BrokenError, TooLargeError):
            continue
        assert frames.shape == reader.shape
        assert sound is None or bool(np.isfinite(sound).all())


def test_fit_takes_the_size_and_whether_there_is_sound() -> None:
    silent = source(films.film(EVEN, lambda k: films.grey(5 * k)))
    loud = source(films.film(EVEN, lambda k: np.zeros((480, 200, 3), np.uint8), sound=np.zeros(96_000, np.float32)))
    assert VideoReader.fit([silent]) == VideoReader(16, films.SIZE)
    reader = VideoReader.fit([loud], num_frames=4)
    assert reader == VideoReader(4, (112, 112), None, 16_000)
    assert VideoReader(**json.loads(json.dumps(dataclasses.asdict(reader)))) == reader
    assert (reader.shape, reader.dtype) == ((4, 3, 112, 112), "uint8")
    with pytest.raises(InputError, match="above 0"):
        VideoReader(4, (8, 8), seconds=0.0)
    with pytest.raises(InputError, match="0 frames"):
        VideoReader(0, (8, 8))
