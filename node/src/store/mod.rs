//! Nothing unverified is ever visible: blobs as files, an index that can be lost, documents that cannot.
