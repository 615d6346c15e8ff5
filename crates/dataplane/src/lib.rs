//! What one node should hold: the values that pass from calculation to the drivers.
