//! The exact meaning of a policy, straight from the API types; the oracle of everything else.
