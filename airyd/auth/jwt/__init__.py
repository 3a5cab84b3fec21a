"""Logins with JSON Web Tokens (JWT): keys, signatures, claims, and the permissions that they grant."""
