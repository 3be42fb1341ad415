"""Every engine, and what one would use instead, in turn in one run: medians, and ratios to a C server. `make bench`.

Each server runs alone on CPU 0 and the client on CPU 1. A round measures every server once, and the ratio of two is
the median of the ratios within the rounds: what else the machine does falls on all alike. The yardsticks are in C,
in this folder, and are built here. Last, `echowire bench` itself is held against the C client.

    python bench/run.py [--rounds 5] [--seconds 1] [--cases 1x64,50x1024] [--only c,readiness]
                        [--write docs/performance.md] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata, util
from pathlib import Path

HERE = Path(__file__).parent
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SERVER_CPU, CLIENT_CPU = 0, 1
REFERENCE = "c"
CASES = "1x64,2x1024,4x1024,8x1024,16x1024,50x1024,200x1024,4x1048576"
HEADS = {
    "echoes_per_s": "echoes/s",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
    "server_us": "server µs/echo",
    "machine_us": "machine µs/echo",
}
FIGURES = tuple(HEADS)
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

Row = Mapping[str, float]


def build(folder: Path) -> None:
    """Compile the yardsticks, and the Go server where there is Go."""
    for name in ("echo_server", "echo_client"):
        subprocess.run(["cc", "-O2", "-o", str(folder / name), str(HERE / f"{name}.c")], check=True)
    if shutil.which("go"):
        subprocess.run(["go", "build", "-o", str(folder / "echo_go"), str(HERE / "echo.go")], check=True)


def servers(folder: Path) -> dict[str, list[str]]:
    """The command of each server that can run here; `{port}` is its port."""
    asyncio_echo = [sys.executable, str(HERE / "echo_asyncio.py"), "{port}"]
    echowire = [sys.executable, "-m", "echowire", "serve", "tcp://127.0.0.1:{port}", "--engine"]
    found = {
        REFERENCE: [str(folder / "echo_server"), "{port}"],
        **{name: [*echowire, name] for name in ("auto", "kernel", "readiness", "threads")},
        "asyncio": asyncio_echo,
        "bare sockmap": [sys.executable, str(HERE / "echo_sockmap.py"), "{port}"],
    }
    if util.find_spec("uvloop"):
        found["uvloop"] = [*asyncio_echo, "--uvloop"]
    if (folder / "echo_go").exists():
        found["go"] = [str(folder / "echo_go"), "{port}"]
    return found


def free_port() -> int:
    """A port that nobody used a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def pinned(cpu: int, command: Sequence[str]) -> list[str]:
    """`command` on one processor."""
    return ["taskset", "-c", str(cpu), *command]


@contextmanager
def serving(command: Sequence[str]) -> Iterator[tuple[int, int]]:
    """A server that listens: its process and its port. Raises `RuntimeError` with what it said if it does not."""
    port, pause = free_port(), threading.Event()
    arguments = pinned(SERVER_CPU, [part.format(port=port) for part in command])
    with tempfile.TemporaryFile("w+") as said:
        server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)
        try:
            deadline = time.monotonic() + 15
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > deadline:
                        said.seek(0)
                        raise RuntimeError(said.read().strip() or "it never listened") from None
                pause.wait(0.05)
            pause.wait(0.2)
            yield server.pid, port
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def group_cpu_s(group: int) -> float:
    """Processor seconds of all processes of a session."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_S


def machine_cpu_s() -> float:
    """Processor seconds of the whole machine that were neither idle nor stolen."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]]
    return (sum(fields) - fields[3] - fields[4]) * TICK_S


def by_c_client(folder: Path, port: int, case: str, seconds: float) -> dict[str, float]:
    """What the C client measures."""
    connections, size = case.split("x")
    command = pinned(CLIENT_CPU, [str(folder / "echo_client"), str(port), connections, size, str(seconds)])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"wrong bytes came back: {done.stdout.strip()}")
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def by_echowire(port: int, case: str, seconds: float) -> dict[str, float]:
    """What `echowire bench` measures."""
    connections, size = case.split("x")
    command = [sys.executable, "-m", "echowire", "bench", str(port), "-c", connections, "-s", size, "--json"]
    done = subprocess.run(pinned(CLIENT_CPU, [*command, "-t", str(seconds)]), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    answer = json.loads(done.stdout)
    return {
        "echoes_per_s": answer["echoes_per_s"],
        "p50_us": answer["latency_us"]["p50"],
        "p99_us": answer["latency_us"]["p99"],
    }


def measure(folder: Path, command: Sequence[str], case: str, seconds: float) -> dict[str, float]:
    """One server under the C client, with its own processor time and the machine's per echo."""
    with serving(command) as (group, port):
        own, machine = group_cpu_s(group), machine_cpu_s()
        answer = by_c_client(folder, port, case, seconds)
        answer["server_us"] = 1e6 * (group_cpu_s(group) - own) / answer["echoes"]
        answer["machine_us"] = 1e6 * (machine_cpu_s() - machine) / answer["echoes"]
    return answer


def medians(rounds: Sequence[Mapping[str, Row]], name: str, reference: str) -> dict[str, tuple[float, float | None]]:
    """Of each figure: the median, and the median of its ratios to the reference's in the same round."""
    found: dict[str, tuple[float, float | None]] = {}
    for figure in FIGURES:
        own = [turn[name][figure] for turn in rounds if figure in turn[name]]
        pairs = [(turn[name], turn[reference]) for turn in rounds if figure in turn[name] and reference in turn]
        ratios = [mine[figure] / theirs[figure] for mine, theirs in pairs if theirs.get(figure)]
        if own:
            found[figure] = statistics.median(own), statistics.median(ratios) if ratios else None
    return found


def table(title: str, rounds: Sequence[Mapping[str, Row]], reference: str) -> list[str]:
    """The rows of one case as Markdown."""
    figures = [figure for figure in FIGURES if figure in rounds[0][reference]]
    heads = [HEADS[figure] for figure in figures]
    lines = [f"**{title}**", "", f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for name in rounds[0]:
        if not all(name in turn for turn in rounds):
            continue
        found = medians(rounds, name, reference)
        cells = []
        for figure in figures:
            value, ratio = found[figure]
            shown = f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}"
            cells.append(f"{shown} ({ratio:.2f})" if ratio is not None else shown)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def machine() -> list[str]:
    """What it was measured on."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    versions = [f"Python {platform.python_version()}", f"echowire {metadata.version('echowire')}", compiler]
    if util.find_spec("uvloop"):
        versions.append(f"uvloop {metadata.version('uvloop')}")
    if shutil.which("go"):
        versions.append(subprocess.run(["go", "version"], capture_output=True, text=True).stdout.strip())
    where = f"{os.cpu_count()} processors, {model}; {platform.system()} {platform.release()} {platform.machine()}"
    return [f"{where}; {'; '.join(versions)}; {time.strftime('%Y-%m-%d', time.gmtime())}.", ""]


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--cases", default=CASES, help="CONNECTIONSxBYTES, with commas")
    parser.add_argument("--only", help="names of servers, with commas; the C server is always measured")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the marks in FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures to FILE")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and write if that was asked for."""
    asked = arguments()
    if (os.cpu_count() or 1) < 2 or not shutil.which("cc") or not shutil.which("taskset"):
        print("side by side: not run; it needs two processors, a C compiler and taskset", file=sys.stderr)
        return 0
    lines, record = machine(), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        found = servers(folder)
        if asked.only:
            found = {key: found[key] for key in found if key == REFERENCE or key in asked.only.split(",")}
        for case in asked.cases.split(","):
            rounds = measure_rounds(folder, found, case, asked)
            reference = found[REFERENCE]
            clients = [compare_clients(folder, reference, case, asked.seconds, turn) for turn in range(asked.rounds)]
            connections, size = case.split("x")
            title = f"{connections} connection{'s' if connections != '1' else ''} of {int(size):,} bytes"
            lines += table(f"Servers, {title}", rounds, REFERENCE)
            lines += table(f"Clients of the C server, {title}", clients, "C client")
            record[case] = {"servers": rounds, "clients": clients}
    text = "\n".join(lines)
    print(text)
    if asked.json:
        asked.json.write_text(json.dumps(record, indent=1) + "\n")
    if asked.write:
        page = asked.write.read_text()
        head, _, rest = page.partition(BEGIN)
        asked.write.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}")
    return 0


def measure_rounds(
    folder: Path, found: dict[str, list[str]], case: str, asked: argparse.Namespace
) -> list[dict[str, dict[str, float]]]:
    """Every server once a round. One that cannot run here is left out, and its reason said once."""
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(asked.rounds):
        turn = {}
        names = list(found)
        for name in names[number % len(names) :] + names[: number % len(names)]:  # nobody always comes first
            print(f"{case} round {number + 1} of {asked.rounds}: {name} …", file=sys.stderr)
            try:
                turn[name] = measure(folder, found[name], case, asked.seconds)
            except RuntimeError as error:
                if name == REFERENCE:
                    raise
                print(f"{name} is left out: {error}", file=sys.stderr)
                del found[name]
        rounds.append({name: turn[name] for name in names if name in turn})
    return rounds


def compare_clients(
    folder: Path, command: Sequence[str], case: str, seconds: float, turn: int
) -> dict[str, dict[str, float]]:
    """The C client and `echowire bench` against one C server, each the first every other turn."""
    with serving(command) as (_, port):
        ours = by_echowire(port, case, seconds) if turn % 2 else {}
        theirs = by_c_client(folder, port, case, seconds)
        return {"C client": theirs, "echowire bench": ours or by_echowire(port, case, seconds)}


if __name__ == "__main__":
    sys.exit(main())
