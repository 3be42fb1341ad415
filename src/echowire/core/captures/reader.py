"""The reader for a capture file of whichever format, told by its first four bytes.

Names of files lie and standard input has none; the magic numbers of pcap and pcapng share no value.
"""

from __future__ import annotations

from echowire.core.captures.pcap import MAGICS, PcapReader
from echowire.core.captures.pcapng import MAGIC, PcapngReader
from echowire.core.captures.records import Problem, RecordReader, Records


class CaptureReader(RecordReader):
    """Bytes of a pcap or pcapng file in, `Records` out; see `RecordReader`.

    An empty file and one of another format have the problem `foreign`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._need = 4
        self._reader: RecordReader | None = None

    def feed(self, chunk: bytes | bytearray | memoryview) -> Records | None:
        """Take the file's next bytes, however many. Gives the packets that they complete, or None."""
        if self._reader is None:
            return super().feed(chunk)
        return self._as_read_by(self._reader, self._reader.feed(chunk))

    def take_over(self, buffer: bytearray) -> Records | None:
        """The same, of bytes that are not copied; see `RecordReader.take_over`."""
        if self._reader is None:
            return super().take_over(buffer)
        return self._as_read_by(self._reader, self._reader.take_over(buffer))

    def _as_read_by(self, reader: RecordReader, records: Records | None) -> Records | None:
        self.packets, self.problem = reader.packets, reader.problem
        return records

    def finish(self) -> Problem | None:
        """Say that the file has ended. Gives why it was not read to its end, None where it was."""
        if self._reader is not None:
            self.problem = self._reader.finish()
        elif not self.problem:
            have = f"only {len(self._buffer)} bytes" if self._buffer else "nothing"
            self._fail("foreign", 0, f"neither pcap nor pcapng: there is {have}")
        return self.problem

    def _scan(self) -> Records | None:
        begin, magic = bytes(self._buffer), bytes(self._buffer[:4])
        if magic == MAGIC:
            self._reader = PcapngReader()
        elif magic in MAGICS:
            self._reader = PcapReader()
        else:
            self._fail("foreign", 0, f"neither pcap nor pcapng: it begins with {magic.hex()}")
            return None
        return self.feed(begin)
