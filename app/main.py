"""Page config and navigation. To add a page: its file in pages/, and one line here."""

import streamlit as st

from app import downloads, visitor
from app.components.page import dress
from app.state import ROOT, go, page_file
from genmodels import demo

st.set_page_config(page_title="Latent Lab", page_icon=str(ROOT / "app" / "icon.png"), layout="wide")
dress()
visitor.enter()


def home() -> None:
    """The bare address leads to the gallery: Streamlit would give a default page no address of its own."""
    go("gallery", **st.query_params.to_dict())


PAGES = {
    "": [st.Page(home, title="Latent Lab", default=True, visibility="hidden")],
    "Start": [
        st.Page(page_file("gallery"), title="Gallery", icon=":material/grid_view:", url_path="gallery"),
        st.Page(page_file("train"), title="Train", icon=":material/model_training:", url_path="train"),
        st.Page(page_file("data"), title="Data", icon=":material/photo_library:", url_path="data"),
    ],
    "Look inside": [
        st.Page(page_file("latent_map"), title="Latent map", icon=":material/scatter_plot:", url_path="latent-map"),
        st.Page(page_file("perturbation"), title="Perturbation", icon=":material/tune:", url_path="perturbation"),
        st.Page(page_file("beta"), title="Beta", icon=":material/compare_arrows:", url_path="beta"),
        st.Page(page_file("transitions"), title="Transitions", icon=":material/animation:", url_path="transitions"),
        st.Page(page_file("arithmetic"), title="Arithmetic", icon=":material/calculate:", url_path="arithmetic"),
    ],
    "Generate": [
        st.Page(page_file("samples"), title="Samples", icon=":material/auto_awesome:", url_path="samples"),
        st.Page(page_file("denoising"), title="Denoising", icon=":material/blur_on:", url_path="denoising"),
        st.Page(page_file("translate"), title="Translate", icon=":material/translate:", url_path="translate"),
        st.Page(page_file("complete"), title="Complete", icon=":material/extension:", url_path="complete"),
    ],
    "Judge": [
        st.Page(page_file("compare"), title="Compare", icon=":material/balance:", url_path="compare"),
        st.Page(page_file("outliers"), title="Outliers", icon=":material/search_insights:", url_path="outliers"),
        st.Page(page_file("debias"), title="Debias", icon=":material/diversity_3:", url_path="debias"),
    ],
    "Learn": [
        st.Page(page_file("flow"), title="Flow", icon=":material/grid_on:", url_path="flow"),
    ],
}
page = st.navigation(PAGES, position="hidden" if demo.on() else "sidebar")
if demo.on():
    visitor.menu(PAGES)
    visitor.warn()
downloads.say_unmade()
page.run()
