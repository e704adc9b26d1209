"""The environment in the words of other libraries; each module imports the one it is named after."""
