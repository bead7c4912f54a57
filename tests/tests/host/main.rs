//! The suite `host`: what this host's interfaces say of attempts, in the lab's namespaces. It needs root.
