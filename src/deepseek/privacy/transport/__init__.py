"""A study between houses: a coordinator and parties as processes of their own, over TLS with client certificates"""
