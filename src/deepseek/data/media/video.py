"""A film -> frames evenly spaced in time, and its sound on the same clock. Second 0 is where its first frame is shown.

    reader = VideoReader.fit(sources)              # how many frames, how large, at which rate the sound
    frames = reader.read(source)                   # (16, 3, 112, 112) uint8: what is shown at (k + 1/2) / 16 of it
    sound = reader.read_sound(source)              # (1, samples) float32 of the same span, or None

    1. what kind of file it is, by its bytes; FFmpeg is never left to guess, so no playlist can name other files
    2. its packets, undecoded: when each frame is shown. What the container says of its length is only held against this
    3. for each moment the frame that is shown then: decoded onwards, or from the nearest key frame before where that is
       further on. One decoded frame of full size at a time (two where it looks one ahead); scaled, then kept

Source: FFmpeg through PyAV. Frames are scaled to `size` whatever their shape, and stand upright.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar, Final, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.data.media.source import BrokenError, Source, check_size
from deepseek.errors import InputError, TooLargeError
from deepseek.extras import need

MAX_SIDE_PX: Final = 112  # pixels that fit() asks for at most
SOUND_RATE_HZ: Final = 16_000  # samples a second, as most models of sound take
MAX_SOUND_GAP_S: Final = 0.05  # sound that comes later or earlier than it should by more is put where its time says
#: Signature, where it stands -> FFmpeg's name of the format.
FORMAT_SIGNATURES: Final = (
    (4, b"ftyp", "mov"), (4, b"moov", "mov"), (4, b"mdat", "mov"), (4, b"wide", "mov"), (4, b"free", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"), (8, b"AVI ", "avi"), (0, b"OggS", "ogg"), (0, b"FLV\1", "flv"),
    (0, b"\x30\x26\xb2\x75", "asf"), (0, b"\0\0\1\xba", "mpeg"), (0, b"GIF8", "gif"),
)  # fmt: skip
_FRAME_UNIT: Final = "pixels a frame"
_FORMAT_NAMES: Final = {"mov": "MP4/MOV", "matroska": "Matroska/WebM", "avi": "AVI"}  # FFmpeg's name -> the user's


@dataclass(frozen=True)
class _VideoFile:
    """An open video; times are in units of the time base of its stream."""

    name: str
    container: Any
    stream: Any
    frame_times: NDArray[np.int64]  # when each frame is shown, sorted
    keyframe_times: NDArray[np.int64]  # of these the key frames
    seek_times: dict[int, int]  # key frame -> what to ask for to get there: when it is decoded, which may be earlier
    seconds: float

    @property
    def unit_s(self) -> float:
        return float(self.stream.time_base)


@dataclass(frozen=True)
class VideoReader:
    """Films as uint8 (frames, 3, height, width).

    >>> VideoReader(num_frames=8, size=(64, 96)).shape
    (8, 3, 64, 96)
    """

    num_frames: int = 16
    size: tuple[int, int] = (MAX_SIDE_PX, MAX_SIDE_PX)  # height, width in pixels
    seconds: float | None = None  # the first so many of a film; None: all of it
    sound_rate: int | None = None  # samples a second of what read_sound() gives; None: it gives nothing

    kind: ClassVar[str] = "video"
    suffixes: ClassVar[tuple[str, ...]] = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".ts", ".ogv")

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))  # JSON has lists
        if self.num_frames < 1 or len(self.size) != 2 or min(self.size) < 1:
            raise InputError(
                f"{self.num_frames} frames of {self.size}", expected="one frame or more of height and width",
                fix="write num_frames=16, size=(112, 112)",
            )  # fmt: skip
        if (self.seconds is not None and not 0 < self.seconds < math.inf) or (self.sound_rate or 1) < 1:
            raise InputError(
                f"seconds is {self.seconds}, sound_rate {self.sound_rate}", expected="numbers above 0, or None",
                fix="write seconds=10.0, sound_rate=16000",
            )  # fmt: skip

    @classmethod
    def fit(cls, sources: Sequence[Source], *, num_frames: int = 16, seconds: float | None = None) -> Self:
        """The median size, at most 112 x 112, and sound if any film has it. Looks at packets, decodes nothing."""
        sizes, sound = [], False
        for source in sources:
            with _open_video(source) as film:
                sizes.append((film.stream.codec_context.height, film.stream.codec_context.width))
                sound |= bool(film.container.streams.audio)
        if not sizes:
            return cls(num_frames, seconds=seconds)
        height, width = (min(MAX_SIDE_PX, round(median(sides))) for sides in zip(*sizes, strict=True))
        return cls(num_frames, (height, width), seconds, SOUND_RATE_HZ if sound else None)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.num_frames, 3, *self.size)

    @property
    def dtype(self) -> str:
        return "uint8"

    def times(self, seconds: float) -> NDArray[np.float64]:
        """(num_frames,) at which frames are taken from a film of `seconds`: the middles of equal parts.

        >>> VideoReader(num_frames=4, seconds=2.0).times(60.0).tolist()
        [0.25, 0.75, 1.25, 1.75]
        """
        span = seconds if self.seconds is None else min(self.seconds, seconds)
        return (np.arange(self.num_frames) + 0.5) * span / self.num_frames

    def read(self, source: Source) -> NDArray[np.uint8]:
        frames = np.empty(self.shape, np.uint8)
        with _open_video(source) as film:
            moments = film.frame_times[0] + self.times(film.seconds) / film.unit_s
            shown = np.searchsorted(film.frame_times, moments + 1e-3, "right") - 1  # rounding hides no frame
            times = film.frame_times[shown]
            last, moment = np.empty(0, np.uint8), None
            for k, (frame, when) in enumerate(zip(_decode_frames(film, times.tolist()), times.tolist(), strict=True)):
                if when != moment:
                    last, moment = self._scale_frame(frame, film, source), when
                frames[k] = last
        return frames

    def read_sound(self, source: Source) -> Float32 | None:
        """(1, samples) of the span that read() takes frames from, sample k at k / sound_rate seconds; None without a
        sound track, or where the reader has no rate. Channels become their mean; silence where nothing was recorded."""
        if self.sound_rate is None:
            return None
        with _open_video(source) as film:
            if not film.container.streams.audio:
                return None
            span = film.seconds if self.seconds is None else min(self.seconds, film.seconds)
            sound = np.zeros((1, max(1, round(span * self.sound_rate))), np.float32)
            start, has_sound = film.frame_times[0] * film.unit_s, False
            for when, samples in _decode_sound(film.container, start + span, self.sound_rate):
                first = round((when - start) * self.sound_rate)
                within = samples[max(0, -first) : max(0, sound.shape[1] - first)]
                sound[0, max(0, first) : max(0, first) + len(within)] = within
                has_sound |= len(within) > 0
            if not np.isfinite(sound).all():
                raise _broken_error(film.name)
            return sound if has_sound else None

    def _scale_frame(self, frame: Any, film: _VideoFile, source: Source) -> NDArray[np.uint8]:
        check_size(source, film.name, (frame.width, frame.height), _FRAME_UNIT)
        if frame.is_corrupt:
            raise _broken_error(film.name)
        turns = round(frame.rotation / 90) % 4  # counter-clockwise
        height, width = self.size[::-1] if turns % 2 else self.size
        pixels = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
        upright: NDArray[np.uint8] = np.rot90(pixels, turns).transpose(2, 0, 1)
        return upright


class VideoFacts(TypedDict):
    format: str
    codec: str
    width_px: int
    height_px: int
    frames: int
    frames_per_s: float | None
    seconds: float
    with_sound: bool


def describe(source: Source) -> VideoFacts:
    """Facts for a card; looks at all packets and decodes the first, the middle and the last frame. BrokenError and
    TooLargeError as VideoReader.read raises them."""
    with _open_video(source) as film:
        num = len(film.frame_times)
        for frame in _decode_frames(film, film.frame_times[[0, num // 2, num - 1]].tolist()):
            if frame.is_corrupt:
                raise _broken_error(film.name)
            width, height = (frame.width, frame.height)[:: -1 if round(frame.rotation / 90) % 2 else 1]
        return {
            "format": _FORMAT_NAMES.get(name := film.container.format.name.split(",")[0], name),
            "codec": film.stream.codec_context.name,
            "width_px": width,
            "height_px": height,
            "frames": num,
            "frames_per_s": num / film.seconds if film.seconds else None,
            "seconds": film.seconds,
            "with_sound": bool(film.container.streams.audio),
        }


@contextmanager
def _open_video(source: Source) -> Iterator[_VideoFile]:
    """Open a video and read its packets. BrokenError when it is none or cut off, also where that shows in decoding."""
    av = need("av", extra="media")
    name, data = source.name, source.data
    kind = _detect_format(data)
    if kind is None:
        raise BrokenError(
            f"{name} is no film", expected="MP4, MOV, WebM, MKV, AVI, MPEG, Ogg, FLV, WMV or GIF, told by its bytes",
            fix="export it as MP4",
        )  # fmt: skip
    try:
        with av.open(
            io.BytesIO(data), format=kind, options={"protocol_whitelist": ""}, metadata_errors="ignore"
        ) as container:
            yield _read_packets(container, source)
    except (av.FFmpegError, IndexError):  # PyAV's own, where a track begins that no header has
        raise _broken_error(name) from None


def _detect_format(data: bytes) -> str | None:
    for offset, signature, kind in FORMAT_SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            return kind
    return "mpegts" if len(data) > 376 and data[0] == data[188] == data[376] == 0x47 else None


def _read_packets(container: Any, source: Source) -> _VideoFile:
    if any(stream_.codec_context is None for stream_ in (*container.streams.video, *container.streams.audio)):
        raise BrokenError(
            f"{source.name} is in a codec that FFmpeg does not know here", expected="H.264, VP9 or another common one",
            fix="export it as MP4",
        )  # fmt: skip
    stream = next((stream_ for stream_ in container.streams.video if not _is_cover(stream_)), None)
    if stream is None:
        raise BrokenError(
            f"{source.name} has no pictures that move", expected="a video track",
            fix="put it into a column of sounds" if container.streams.audio else "export it as MP4",
        )  # fmt: skip
    context = stream.codec_context
    check_size(source, source.name, (context.width, context.height), _FRAME_UNIT)
    context.thread_count = 1  # readers run beside each other; see data loading
    context.options = {"max_pixels": str(source.limits.max_pixels)}  # where the frames are larger than they should be
    frame_times: list[int] = []
    seek_times: dict[int, int] = {}
    end_s, last, counts = 0.0, 0, Counter[int]()
    for packet in container.demux(*container.streams.video, *container.streams.audio):
        when = packet.dts if packet.pts is None else packet.pts
        if when is None:  # the empty one at the end
            continue
        counts[packet.stream_index] += 1
        end_s = max(end_s, float((when + packet.duration) * packet.time_base))
        if packet.stream_index == stream.index and not packet.is_discard:
            frame_times.append(when)
            if len(frame_times) > source.limits.max_frames:
                raise TooLargeError(
                    f"{source.name} has more than {source.limits.max_frames:,} frames", expected="at most so many",
                    fix="cut it, or raise the limit",
                )  # fmt: skip
            last = max(last, packet.duration)
            if packet.is_keyframe:
                seek_times[when] = when if packet.dts is None else packet.dts
    if not frame_times or not seek_times:
        raise BrokenError(f"{source.name} has no frame", expected="a film with frames", fix="record or export it again")
    times = np.unique(np.array(frame_times, np.int64))
    last = last or int(np.median(np.diff(times))) if len(times) > 1 else last
    film = _VideoFile(
        source.name, container, stream, times, np.unique(np.array([*seek_times], np.int64)), seek_times,
        float((int(times[-1] - times[0]) + last) * stream.time_base),
    )  # fmt: skip
    _check_container(film, counts, end_s, source)
    return film


def _check_container(film: _VideoFile, counts: Counter[int], end_s: float, source: Source) -> None:
    """Compare the container's promises with the packets that are there. BrokenError, TooLargeError."""
    container, max_seconds = film.container, source.limits.max_seconds
    if film.seconds > max_seconds:
        raise TooLargeError(
            f"{source.name} lasts {film.seconds:,.1f} s", expected=f"at most {max_seconds:,.1f} s",
            fix="cut it, or raise the limit",
        )  # fmt: skip
    if container.format.name.startswith("mov"):
        for stream in (*container.streams.video, *container.streams.audio):
            if stream.frames > counts[stream.index]:
                raise BrokenError(
                    f"{source.name} is cut off: {counts[stream.index]:,} of {stream.frames:,} packets of its "
                    f"{stream.type}",
                    expected="a whole film", fix="copy it again",
                )  # fmt: skip
    duration_s = (container.duration or 0) / 1e6
    if duration_s > end_s * 1.01 + 0.5:
        raise BrokenError(
            f"{source.name} says that it lasts {duration_s:,.1f} s, and ends after {end_s:,.1f} s: it is cut off",
            expected="a whole film", fix="copy it again, or write its container anew: ffmpeg -i OLD -c copy NEW",
        )  # fmt: skip


def _decode_frames(film: _VideoFile, times: Sequence[int]) -> Iterator[Any]:
    """The frame that is on screen at each of these `times`, which ascend."""
    frame: Any = None
    ahead: Any = None
    frames: Iterator[Any] = iter(())
    for when in times:
        key = int(film.keyframe_times[max(0, int(np.searchsorted(film.keyframe_times, when, "right")) - 1)])
        if frame is None or key > frame.pts:  # all between is passed over undecoded
            film.container.seek(film.seek_times[key], stream=film.stream)
            frames = (candidate for candidate in film.container.decode(film.stream) if candidate.pts is not None)
            frame, ahead = next(frames, None), None
        while frame is not None and frame.pts < when:
            following = ahead or next(frames, None)
            if following is None:
                break
            if following.pts > when:
                ahead = following
                break
            frame, ahead = following, None
        if frame is None:
            raise BrokenError(
                f"{film.name} has no frame that can be decoded", expected="a whole film", fix="export it again"
            )
        yield frame


def _decode_sound(container: Any, end_s: float, rate: int) -> Iterator[tuple[float, Float32]]:
    """Mono sound at `rate` Hz up to `end_s`, in runs: the second at which each begins, and its samples."""
    import av

    stream = container.streams.audio[0]
    stream.codec_context.thread_count = 1
    container.seek(0)
    resampler: Any = None
    last_format: Any = None
    begin = following = 0.0
    for frame in container.decode(stream):
        when = following if frame.time is None else float(frame.time)
        if when > end_s:
            break
        sound_format = (frame.format.name, frame.layout.name, frame.sample_rate)
        # Broadcasts change from stereo to mono and back.
        if sound_format != last_format or abs(when - following) > MAX_SOUND_GAP_S:
            if resampler is not None:
                yield from _resample_frame(resampler, None, begin)
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            begin, last_format = when, sound_format
        following = when + frame.samples / frame.sample_rate
        frame.pts = None  # places are ours
        for second, samples in _resample_frame(resampler, frame, begin):
            yield second, samples
            begin = second + len(samples) / rate
    if resampler is not None:
        yield from _resample_frame(resampler, None, begin)


def _resample_frame(resampler: Any, frame: Any, begin: float) -> Iterator[tuple[float, Float32]]:
    for resampled in resampler.resample(frame):
        samples = resampled.to_ndarray().ravel()
        yield begin, samples
        begin += len(samples) / resampled.sample_rate


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _broken_error(display_name: str) -> BrokenError:
    return BrokenError(
        f"{display_name} cannot be decoded: it is cut off or damaged",
        expected="a whole film",
        fix="copy or export it again",
    )
