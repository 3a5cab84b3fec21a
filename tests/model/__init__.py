"""A model of many clients of one hub over a feed whose every answer the test holds in its hand."""
