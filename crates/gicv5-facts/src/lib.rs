//! The facts about GICv5 that the project is built on, parsed.
