"""The package at home in other libraries: one module a library, none imported unless asked for."""
