//! Datastores behind one trait; the embedded SQLite backend.
