"""Adapters to the interfaces of other libraries. Each module imports the library it is named after."""
