"""Runs libtorrent with settings for one fast peer: TCP only, long queues, large buffers, no encryption, 1 MiB SHA-1 pieces."""

import os
import sys
import time

import libtorrent as lt

SETTINGS = {
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    "allow_multiple_connections_per_ip": True,
    "max_out_request_queue": 5000,
    "max_allowed_in_request_queue": 5000,
    "request_queue_time": 10,
    "send_buffer_watermark": 16 << 20,
    "send_buffer_low_watermark": 1 << 20,
    "send_buffer_watermark_factor": 200,
    "send_socket_buffer_size": 4 << 20,
    "recv_socket_buffer_size": 4 << 20,
    "max_queued_disk_bytes": 64 << 20,
    "unchoke_slots_limit": -1,
    "connection_speed": 500,
    "smooth_connects": False,
    "hashing_threads": 2,
    "aio_threads": 4,
    "alert_mask": lt.alert.category_t.storage_notification | lt.alert.category_t.error_notification,
}


def seed(path, torrent):
    files = lt.file_storage()
    lt.add_files(files, path)
    made = lt.create_torrent(files, piece_size=1 << 20, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(made, os.path.dirname(path))
    with open(torrent, "wb") as out:
        out.write(lt.bencode(made.generate()))
    session = lt.session(SETTINGS | {"listen_interfaces": "127.0.0.1:0"})
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = os.path.dirname(path)
    params.flags |= lt.torrent_flags.seed_mode
    session.add_torrent(params)
    while not session.listen_port():
        time.sleep(0.01)
    print(session.listen_port(), flush=True)
    while True:
        time.sleep(1)


def fetch(torrent, out, port):
    session = lt.session(SETTINGS | {"listen_interfaces": "127.0.0.1:0"})
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = out
    handle = session.add_torrent(params)
    handle.connect_peer(("127.0.0.1", int(port)))
    while not handle.status().is_seeding:
        time.sleep(0.005)
    handle.flush_cache()
    flushed = False
    while not flushed:
        session.wait_for_alert(1000)
        flushed = any(isinstance(alert, lt.cache_flushed_alert) for alert in session.pop_alerts())
    for name in os.listdir(out):
        file = os.open(os.path.join(out, name), os.O_RDONLY)
        os.fsync(file)
        os.close(file)
    # The bytes are written. The measurement does not include the end of the session.
    os._exit(0)


if sys.argv[1] == "seed":
    seed(sys.argv[2], sys.argv[3])
else:
    fetch(*sys.argv[2:5])
