//! The HTTP contract of version 1 as types: what clients send, what nodes answer.
