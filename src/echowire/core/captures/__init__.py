"""Capture files as columns of records: pcap and pcapng read and written, and the blocks of a packet ring."""
