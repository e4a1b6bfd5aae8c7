//! libp2p behind a handle: finding peers, asking them, and streams of pieces.
