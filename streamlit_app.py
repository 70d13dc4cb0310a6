"""The door: `streamlit run streamlit_app.py`.

This file is not the app itself, because Streamlit takes a script that stands beside `pages/` for the old kind of
multipage app: on a server just started, a deep link such as /train?run=... would run that page alone, without the
navigation and what all pages share. `st.App` names the true first script and has no such scan.
"""

import streamlit as st
from starlette.middleware import Middleware

from app import warm
from app.limits import Limits
from app.routes import ROUTES

warm.start()
app = st.App("app/main.py", routes=ROUTES, middleware=[Middleware(Limits)])
