"""The bundle's command ``recognize``: ``python -m pokeflow_edge.runtime`` with the bundle's lib on Python's path."""

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pokeflow.errors import PokeflowError
from pokeflow_edge.runtime import camera, recognizer, server
from pokeflow_edge.runtime.recognizer import BundleRecognizer
from pokeflow_vision.recognizer import Answer

HERE = Path(__file__).resolve().parents[3]
"""Folder of the bundle that contains this file as lib/pokeflow_edge/runtime/__main__.py."""
ADDRESS = "127.0.0.1:8080"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 on success, 1 after an error message, 130 if interrupted; exit with 2 on misuse."""
    args = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    limits = {name: getattr(args, name) for name in ("top", "max_bytes", "max_pixels")}
    try:
        bundle = recognizer.open_bundle(args.bundle, args.threads, **limits)
        if args.http is not None:
            return server.run(server.Server(bundle), server.listening(args.http))
        if args.check:
            _print_json({"status": "ok", **bundle.bundle.describe})
            return 0
        if args.camera is not None:
            return _watch(bundle, args)
        return _recognize_files(bundle, args)
    except PokeflowError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 130


def _recognize_files(bundle: BundleRecognizer, args: argparse.Namespace) -> int:
    """Print one line per picture; a rejected picture gets an error line, and the others are still answered."""
    failed = False
    for file in args.files:
        try:
            _print(str(file), bundle.read(file), bundle, args.table)
        except PokeflowError as error:
            failed = True
            if args.table:
                print(error, file=sys.stderr)
            else:
                _print_json({"image": str(file), "error": str(error)})
    return 1 if failed else 0


def _watch(bundle: BundleRecognizer, args: argparse.Namespace) -> int:
    number = int(args.camera) if args.camera.isdecimal() else args.camera
    answers = camera.recognize_frames(camera.frames(number), bundle.recognize)
    for answer in camera.steady(answers, args.frames, args.least):
        _print(f"camera {args.camera}", answer, bundle, args.table)
    return 0


def _print(image: str, answer: Answer, bundle: BundleRecognizer, table: bool) -> None:
    if table:
        print(*_lines(image, answer), sep="\n", flush=True)
    else:
        _print_json({"image": image, **answer.as_dict(), **bundle.bundle.describe})


def _print_json(fields: Mapping[str, Any]) -> None:
    print(json.dumps(fields, ensure_ascii=False), flush=True)


def _lines(image: str, answer: Answer) -> Iterator[str]:
    yield f"{image}  ({sum(answer.milliseconds.values()):.1f} ms)"
    for match in answer.matches:
        yield f"  {match.score:.4f}  {match.card_id:20} {match.name} ({match.set} {match.number})"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("recognize", description="Recognize which card a picture shows.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="JPEG or PNG files")
    parser.add_argument("--camera", nargs="?", const="0", metavar="N", help="watch a camera, or a video by its path")
    parser.add_argument("--http", nargs="?", const=ADDRESS, metavar="HOST:PORT", help=f"serve; alone: {ADDRESS}")
    parser.add_argument("--check", action="store_true", help="open the bundle and run its self-test, then exit")
    parser.add_argument("--table", action="store_true", help="print tables instead of a JSON line per picture")
    parser.add_argument(
        "--top", type=_positive, help="matches per picture (default, also of the next two: the bundle's)"
    )
    parser.add_argument("--max-bytes", type=_positive, help="maximum file size of a picture")
    parser.add_argument("--max-pixels", type=_positive, help="maximum size of a picture")
    parser.add_argument("--threads", type=int, default=0, help="threads of the network (default: all cores)")
    parser.add_argument(
        "--frames", type=_positive, default=3, help="consecutive camera frames that must agree on a card"
    )
    parser.add_argument("--least", type=float, default=-1.0, help="minimum score of a camera's match (default: none)")
    parser.add_argument(
        "--bundle", type=Path, default=HERE, help="an unpacked bundle (default: the one that contains this command)"
    )
    args = parser.parse_args(arguments)
    if bool(args.files) + args.check + (args.camera is not None) + (args.http is not None) != 1:
        parser.error("exactly one of FILE…, --camera, --http and --check is required")
    if args.threads < 0:
        parser.error(f"--threads {args.threads} is below 0")
    return args


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
