"""Logins with JSON Web Tokens: keys, signatures, claims, and the permissions that they grant."""
