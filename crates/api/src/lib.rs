//! Identities, resources, selectors, validation and conversion: what a user says.
