import time
from tests.api.rows import refuse
def test_shots(visit, worker, live, cliniko):
    v = visit(viewport={"width":1280,"height":900})
    p=v.page
    v.open("/sign-in"); p.screenshot(path="/tmp/shots/out/signin.png")
    v.sign_in(live.cast.alice)
    p.screenshot(path="/tmp/shots/out/clinics0.png",full_page=True)
    v.open(f"/clinics/{live.cast.surf.id}")
    p.screenshot(path="/tmp/shots/out/clinic0.png",full_page=True)
    cliniko.latency_ms=1500
    p.get_by_role("button",name="Sync all patients").click()
    p.wait_for_timeout(600); p.screenshot(path="/tmp/shots/out/clinic1.png",full_page=True)
    p.get_by_role("button",name="Cancel sync").click()
    p.wait_for_timeout(300); p.screenshot(path="/tmp/shots/out/clinic1b.png",full_page=True)
    p.get_by_role("button",name="Keep syncing").click()
    p.wait_for_timeout(4000); p.screenshot(path="/tmp/shots/out/clinic2.png",full_page=True)
    cliniko.latency_ms=100
    p.locator("#sync-card .pill.completed").wait_for()
    p.wait_for_timeout(1200); p.screenshot(path="/tmp/shots/out/clinic3.png",full_page=True)
    p.get_by_role("button",name="Sync all patients").click()
    p.wait_for_timeout(800); p.screenshot(path="/tmp/shots/out/clinic4.png",full_page=True)
    p.get_by_role("button",name="Test connection").click()
    p.wait_for_timeout(800); p.screenshot(path="/tmp/shots/out/clinic5.png",full_page=True)
    print(v.complaints)
    for n,path in dict(clinics="/clinics",patients="/clinics/1/patients",patient="/clinics/1/patients/5",syncs="/clinics/1/syncs",sync="/clinics/1/syncs/1",settings="/clinics/1/settings",new="/clinics/new",e404="/nothing").items():
        v.open(path); p.screenshot(path=f"/tmp/shots/out/{n}.png",full_page=True)
    print(v.complaints)
