//! Rules to address classes, port classes and verdicts.
